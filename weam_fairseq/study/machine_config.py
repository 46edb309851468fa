"""The keys of a config that say where and how long it runs, and change no result: estimate, machine, slurm."""

from __future__ import annotations

from weam_fairseq.common.errors import InputError
from weam_fairseq.study.settings import Estimate, Machine
from weam_fairseq.study.yaml_file import Options, Section

KINDS = ("preprocess", "import", "base", "train", "export", "evaluate")
# `default` is for all kinds; a kind's own keys win.
SLURM_KINDS = ("default", *KINDS)
TRAININGS = ("base", "train")

# All that `machine` may hold: what else a command has may change a result, and would not be part of what a step is.
_HARMLESS = {
    "preprocess": ("`data.preprocess`", ("workers", "cluster", "cluster-option", "cluster-chunks")),
    "train": (
        "`base.train` or `continued`",
        (
            *("num-workers", "data-buffer-size", "log-interval", "save-interval-updates", "keep-interval-updates"),
            *("validate-interval-updates", "save-interval", "validate-interval", "no-epoch-checkpoints"),
            *("checkpoint-activations", "compile", "cpu", "ddp-backend", "tensorboard-logdir", "wandb-project"),
        ),
    ),
}


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
    for kind, (place, harmless) in _HARMLESS.items():
        for name in section.options(kind):
            if name not in harmless:
                must = (
                    f"under {place}, since it may change results: `machine.{kind}` may hold {', '.join(harmless)} alone"
                )
                section.section(kind).wrong(name, must)
    return Machine(section.options("preprocess"), section.options("train"), section.options("evaluate"), slurm)


def processes(machine: Machine, kind: str) -> tuple[int, int]:
    """Nodes, and processes on each, of a step: a training's update is over the pieces of all of them.

    Raises InputError for what is no whole number.
    """
    asked: Options = {**machine.slurm.get("default", {}), **machine.slurm.get(kind, {})}
    gpus = asked_whole(asked, "gpus-per-node", 0)
    tasks = asked_whole(asked, "tasks-per-node", max(gpus, 1) if kind in TRAININGS else 1)
    return asked_whole(asked, "nodes", 1), tasks


def asked_whole(asked: Options, key: str, default: int) -> int:
    value = asked.get(key, default)
    if type(value) is not int or value < 0:
        raise InputError(f"`slurm` must give {key} a whole number, but gives {value!r}.")
    return value
