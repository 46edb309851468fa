"""weam-score: predictions in a benchmark's own format to scores. No model is loaded."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from weam_fairseq.common.arguments import CommandParser
from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Benchmark, Request, Scoring, ScoringResult
from weam_fairseq.evaluation.benchmarks import BENCHMARKS, find_benchmark

EXAMPLE = """example:
  weam-score word-alignment --gold de-en.gold --predictions de-en.links
  weam-score mlqa --gold dev-context-de-question-de.json --predictions answers.de.json --language de

Prints one JSON object on one line, such as {"exact_match": 40.6, "f1": 57.9}.
"""

SCORED = tuple(benchmark for benchmark in BENCHMARKS if benchmark.scoring is not None)

# Their figures come from a model's states, so they have no predictions to score.
FROM_STATES = tuple(benchmark.name for benchmark in BENCHMARKS if benchmark.scoring is None)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the scores. Returns the exit code: 0, or 2 after one sentence on stderr."""
    return run_command("weam-score", lambda: _run(_parser().parse_args(argv)))


def _run(options: argparse.Namespace) -> None:
    if options.task in FROM_STATES:
        raise InputError(
            f"{options.task} has no predictions to score, because its figure comes from a model's states. Run "
            f"weam-evaluate {options.task} with the model."
        )
    benchmark = find_benchmark(options.task, SCORED)
    request = Request(
        *(options.gold, options.predictions, options.language, options.missing_as_zero),
        *(options.gold_from, options.predictions_from),
    )
    result = score(benchmark, request)
    for note in result.notes:
        print(f"weam-score: note: {note}", file=sys.stderr)
    print(json.dumps(result.scores))


def score(benchmark: Benchmark, request: Request) -> ScoringResult:
    """Raises InputError: a file is missing or malformed, or the two files do not belong together."""
    scoring = benchmark.scoring
    assert scoring is not None
    if request.missing_as_zero and not scoring.by_id:
        by_id = ", ".join(each.name for each in SCORED if each.scoring and each.scoring.by_id)
        raise InputError(
            f"--missing-as-zero is for tasks whose predictions carry ids ({by_id}), not for {benchmark.name}."
        )
    if (request.gold_from, request.predictions_from) != (None, None) and not benchmark.reads_links:
        raise InputError(f"--gold-from and --predictions-from are for word-alignment, not for {benchmark.name}.")
    try:
        result = scoring.score(request)
    except InputError as error:
        if str(request.gold) in str(error) or str(request.predictions) in str(error):
            raise
        raise InputError(f"{request.predictions} against {request.gold}: {error}") from None
    assert tuple(result.scores) == scoring.metrics
    return result


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="weam-score",
        description="Scores predictions in a benchmark's own format, without a model. Every number is 0–100.",
        epilog="tasks:\n"
        + "\n".join(_describe(benchmark.name, benchmark.scoring) for benchmark in SCORED if benchmark.scoring)
        + f"\n\n{', '.join(FROM_STATES)}\nhave no predictions to score: "
        + f"weam-evaluate computes them from a model's states.\n\n{EXAMPLE}",
    )
    parser.add_argument("task", metavar="TASK", help=", ".join(benchmark.name for benchmark in SCORED))
    parser.add_argument("--gold", metavar="FILE", type=Path, required=True, help="the correct answers")
    parser.add_argument("--predictions", metavar="FILE", type=Path, required=True, help="the predictions to score")
    parser.add_argument(
        "--language", metavar="XX", help="language of the predictions; needed if the metric depends on the language"
    )
    for option, links in (("--gold-from", "gold"), ("--predictions-from", "predicted")):
        parser.add_argument(
            option,
            type=int,
            choices=(0, 1),
            help=f"the number of a sentence's first word in {links} links (default: 0; a file that appears to count "
            "from 1 is an error)",
        )
    parser.add_argument(
        "--missing-as-zero",
        action="store_true",
        help="count a missing prediction as 0, as the official scorers do (default: a missing prediction is an error)",
    )
    return parser


def _describe(name: str, scoring: Scoring) -> str:
    return (
        f"  {name:<16}{', '.join(scoring.metrics)}; {scoring.citation}\n"
        f"  {'':<16}gold: {scoring.gold}\n"
        f"  {'':<16}predictions: {scoring.predictions}"
    )


if __name__ == "__main__":
    sys.exit(main())
