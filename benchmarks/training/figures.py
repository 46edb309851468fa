"""Results -> one Markdown table: medians of ratios between contestants of the same round, and what is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from results import Row
from shapes import WORKLOADS, operations

Cells = Sequence[str]


def table(rows: list[Row], clock: str = "wall") -> Iterator[str]:
    """Lines: where it was measured, then the table.

    Args:
        clock: `cpu` counts the seconds that a contestant's threads computed, for a machine that others use too.
    """
    if not rows:
        return
    if clock == "cpu":
        rows = [_by_cpu(row) for row in rows]
        yield "Seconds are processor seconds: the machine was not idle."
        yield ""
    yield from _where(rows)
    yield ""
    yield "| figure | workload | measured | compared with | ratio (least–most) | target |"
    yield "|---|---|---|---|---|---|"
    for make in (_two_losses, _stock, _hugging_face, _bf16, _links, _padding, _feed, _two_processes, _memory, _gpu):
        for cells in make(rows):
            yield f"| {' | '.join(cells)} |"


def _where(rows: list[Row]) -> Iterator[str]:
    def every(key: str) -> str:
        return " and ".join(sorted({str(row[key]) for row in rows if key in row}))

    gpu = f"{found}; " if (found := every("gpu")) else ""
    yield f"{gpu}{every('machine')}; {every('threads')} threads; torch {every('torch')}, Python {every('python')}."
    yield ""
    for name in sorted({row["workload"].split(" ")[0] for row in rows if "workload" in row}, key=_place):
        parameters = max(row["parameters"] for row in rows if row.get("workload", "").split(" ")[0] == name)
        yield f"- {WORKLOADS[name].told()}; {parameters / 1e6:.1f} M parameters"


def _by_cpu(row: Row) -> Row:
    told = {
        name: row[f"{name[:-7]}cpu_seconds"] for name in ("seconds", "head_seconds") if f"{name[:-7]}cpu_seconds" in row
    }
    return row | told


def _groups(rows: list[Row], part: str) -> Iterator[tuple[str, str, dict[str, list[Row]]]]:
    """Workload, precision, contestant -> its rows by round."""
    chosen = [row for row in rows if row["part"] == part]
    named = {(row["workload"], row["precision"]) for row in chosen}
    for workload, precision in sorted(named, key=lambda each: (_place(each[0]), *each)):
        of: dict[str, list[Row]] = {}
        for row in sorted(chosen, key=lambda row: row.get("round", 0)):
            if (row["workload"], row["precision"]) == (workload, precision):
                of.setdefault(row["contestant"], []).append(row)
        yield workload, precision, of


def _two_losses(rows: list[Row]) -> Iterator[Cells]:
    for workload, precision, of in _groups(rows, "full"):
        if not {"weam", "tlm"} <= of.keys():
            continue
        weam, tlm = of["weam"], of["tlm"]
        linked = sum(row["linked"] for row in weam) / sum(row["masked"] for row in weam)
        head = median(row["head_seconds"] for row in tlm) / median(row["seconds"] for row in tlm)
        bound = 1.05 * (1 + linked * head)
        wanted = f"≤ {bound:.2f} = 1.05 × (1 + {linked:.2f} · {head:.2f})"
        name = "1. two losses against one of ours"
        yield name, f"{workload} {precision}", _seconds(weam), f"tlm {_seconds(tlm)}", _ratio(weam, tlm), wanted


def _stock(rows: list[Row]) -> Iterator[Cells]:
    for workload, precision, of in _groups(rows, "full"):
        if {"weam", "fairseq"} <= of.keys():
            wanted = "≤ 1.15" if (workload, precision) == ("A", "fp32") else ""
            cells = _seconds(of["weam"]), f"fairseq {_seconds(of['fairseq'])}", _ratio(of["weam"], of["fairseq"])
            yield "2. against fairseq's one loss, full rows", f"{workload} {precision}", *cells, wanted
    for workload, precision, of in _groups(rows, "used"):
        if {"weam", "fairseq"} <= of.keys():
            ours, theirs = _rate(of["weam"]), _rate(of["fairseq"])
            cells = f"{ours:,.0f} pieces/s{_padded(of['weam'])}", f"fairseq {theirs:,.0f}{_padded(of['fairseq'])}"
            name = "2. time for a piece against fairseq's, as used"
            yield name, f"{workload} {precision}", *cells, f"{theirs / ours:.2f}", "≤ 0.85"


def _hugging_face(rows: list[Row]) -> Iterator[Cells]:
    wanted_of = {"A": "≥ 1.5", "B": "≥ 1.25"}
    for workload, precision, of in _groups(rows, "full"):
        if {"weam", "hf"} <= of.keys():
            cells = _pieces(of["weam"]), f"Hugging Face {_pieces(of['hf'])}", _ratio(of["hf"], of["weam"])
            yield "3. pieces/s, full rows", f"{workload} {precision}", *cells, wanted_of.get(workload, "")
    for workload, precision, of in _groups(rows, "used"):
        if {"weam", "hf"} <= of.keys():
            ours, theirs = _rate(of["weam"]), _rate(of["hf"])
            cells = f"{ours:,.0f} pieces/s{_padded(of['weam'])}", f"Hugging Face {theirs:,.0f}{_padded(of['hf'])}"
            yield "3. pieces/s, as used", f"{workload} {precision}", *cells, f"{ours / theirs:.2f}", "≥ 2"


def _bf16(rows: list[Row]) -> Iterator[Cells]:
    by = {(workload, precision): of for workload, precision, of in _groups(rows, "full")}
    for workload in sorted({workload for workload, _ in by}, key=_place):
        fp32, bf16 = by.get((workload, "fp32"), {}).get("weam"), by.get((workload, "bf16"), {}).get("weam")
        if fp32 and bf16:
            wanted = {"A": "≥ 2 with AMX", "B": "≥ 3 with AMX"}.get(workload, "")
            yield "4. bf16 against fp32", workload, _seconds(bf16), f"fp32 {_seconds(fp32)}", _ratio(fp32, bf16), wanted


def _links(rows: list[Row]) -> Iterator[Cells]:
    of = {row["aligner"]: row for row in rows if row["part"] == "links"}
    ours = of.pop("fast_align", None)
    for name, row in of.items() if ours else ():
        told = f"{ours['pairs'] / ours['cpu_seconds']:,.0f} pairs/s of one core"
        other = f"{name} {row['pairs'] / row['cpu_seconds']:,.0f}"
        ratio = f"{ours['cpu_seconds'] / row['cpu_seconds']:.2f}"
        wanted = "≤ 0.4" if name.endswith("(program)") else ""
        yield "links by fast_align (ours)", f"{ours['pairs']:,} pairs en-de", told, other, ratio, wanted


def _padding(rows: list[Row]) -> Iterator[Cells]:
    for row in (row for row in rows if row["part"] == "length"):
        told = f"{row['pairs']:,} pairs in {row['batches']:,} batches"
        yield "5. padding", f"--max-tokens {row['max_tokens']:,}", told, "", f"{100 * row['share']:.1f} %", "≤ 8 %"


def _feed(rows: list[Row]) -> Iterator[Cells]:
    for row in (row for row in rows if row["part"] == "waiting"):
        share = 100 * row["waited"] / row["seconds"]
        told = f"{row['waited']:.2f} s", f"{row['updates']} updates {row['seconds']:.0f} s"
        yield "6. waiting for data", "A's model, 32 pairs", *told, f"{share:.2f} %", "≤ 2 %"
    for row in (row for row in rows if row["part"] == "start"):
        told = f"{row['pairs']:,} pairs: {row['seconds']:.1f} s"
        yield "6. from the command to the first update", "A's model, 32 pairs", told, "", "", "≤ 20 s"


def _two_processes(rows: list[Row]) -> Iterator[Cells]:
    by = {n: [row for row in rows if row["part"] == "two" and row["processes"] == n] for n in (1, 2)}
    if by[1] and by[2]:
        ratios = [two["wps"] / one["wps"] for one, two in zip(by[1], by[2], strict=False)]
        told = [f"{median(row['wps'] for row in by[n]):,.0f} pieces/s" for n in (2, 1)]
        cells = told[0], f"one: {told[1]}", _spread(ratios)
        yield "7. two processes, one thread each", "A's model, 2,048 pieces each", *cells, "≥ 1.6"


def _memory(rows: list[Row]) -> Iterator[Cells]:
    for workload, precision, of in _groups(rows, "memory"):
        peaks = {name: found[0]["peak_mib"] for name, found in of.items()}
        for other, wanted in (("tlm", "≤ 1.05"), ("fairseq", "≤ 0.6"), ("hf", "")):
            if "weam" in peaks and other in peaks:
                cells = f"{peaks['weam']:,.0f} MiB", f"{other} {peaks[other]:,.0f} MiB"
                ratio = f"{peaks['weam'] / peaks[other]:.2f}"
                yield "1, 2. memory of an update", f"{workload} {precision}", *cells, ratio, wanted


def _gpu(rows: list[Row]) -> Iterator[Cells]:
    for workload, precision, of in _groups([row for row in rows if row.get("device") == "cuda"], "full"):
        shape = WORKLOADS[workload.split(" ")[0]]
        for name, found in of.items():
            peak = found[0].get("peak_tflops")
            rates = [
                operations(shape, r["pieces"], r["masked"] + r["linked"] if name != "hf" else r["pieces"])
                / r["seconds"]
                for r in found
            ]
            share = f", {100 * median(rates) / 1e12 / peak:.0f} % of the peak" if peak else ""
            wanted = "≥ 40 % at the best batch" if name == "weam" else ""
            yield (
                "8. on a GPU",
                f"{workload} {precision}",
                name,
                _pieces(found),
                f"{median(rates) / 1e12:.0f} TFLOP/s{share}",
                wanted,
            )


def _place(workload: str) -> int:
    """Order of the rows: that of WORKLOADS."""
    return list(WORKLOADS).index(workload.split(" ")[0])


def _seconds(rows: list[Row]) -> str:
    return f"{_spread([row['seconds'] for row in rows])} s"


def _pieces(rows: list[Row]) -> str:
    return f"{_spread([row['pieces'] / row['seconds'] for row in rows], ',.0f')} pieces/s"


def _ratio(over: list[Row], under: list[Row]) -> str:
    """Of the rounds that both had."""
    beside = {row["round"]: row["seconds"] for row in under}
    return _spread([row["seconds"] / beside[row["round"]] for row in over if row["round"] in beside])


def _rate(rows: list[Row]) -> float:
    """Real pieces a second over batches that stand for an epoch."""
    return sum(row["pieces"] for row in rows) / sum(row["seconds"] for row in rows)


def _padded(rows: list[Row]) -> str:
    share = 1 - sum(row["pieces"] for row in rows) / sum(row["grid"] for row in rows)
    return f" ({100 * share:.0f} % padding)"


def _spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median, least and greatest."""
    low, middle, high = (f"{value:{form}}" for value in (min(values), median(values), max(values)))
    return f"{middle} ({low}–{high})"
