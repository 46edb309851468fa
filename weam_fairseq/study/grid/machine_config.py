"""The keys of a config that say where and how long it runs, and change no result: estimate, machine, slurm."""

from __future__ import annotations

from weam_fairseq.study.grid.settings import Estimate, Machine
from weam_fairseq.study.grid.yaml_file import Options, Section

KINDS = ("preprocess", "import", "base", "train", "export", "evaluate")
# `default` is for all kinds; a kind's own keys win.
SLURM_KINDS = ("default", *KINDS)


def read_estimate(top: Section) -> Estimate:
    if "estimate" not in top:
        return Estimate()
    section = top.section("estimate")
    section.only(tuple(Estimate.__dataclass_fields__))

    def whole(key: str) -> int | None:
        if key not in section:
            return None
        found = section.get(key, int)
        return found if found > 0 else section.wrong(key, "a whole number above 0")

    utilisation = section.get("utilisation", float, Estimate.utilisation)
    if not 0 < utilisation <= 1:
        section.wrong("utilisation", "a share above 0, 1 at most")
    flops = section.get("flops", float) if "flops" in section else None
    if flops is not None and flops <= 0:
        section.wrong("flops", "a number of operations a second")
    return Estimate(
        flops=flops,
        utilisation=utilisation,
        pieces_per_update=whole("pieces_per_update"),
        base_pieces_per_update=whole("base_pieces_per_update"),
        length=whole("length") or Estimate.length,
        linked_share=section.get("linked_share", float, Estimate.linked_share),
    )


def read_machine(top: Section) -> Machine:
    slurm: dict[str, Options] = {}
    if "slurm" in top:
        asked = top.section("slurm")
        asked.only(SLURM_KINDS)
        slurm = {kind: asked.options(kind) for kind in asked}
    if "machine" not in top:
        return Machine({}, {}, {}, slurm)
    section = top.section("machine")
    section.only(("preprocess", "train", "evaluate"))
    return Machine(section.options("preprocess"), section.options("train"), section.options("evaluate"), slurm)
