"""weam-evaluate: from a Hugging Face folder to scores with signatures."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_file_destination, check_parent
from weam_fairseq.common.process_setup import bound_compiled_products, wait_without_spinning
from weam_fairseq.evaluation.benchmark import Benchmark, Measurement, Setting
from weam_fairseq.evaluation.benchmarks import BENCHMARKS, find_benchmark
from weam_fairseq.evaluation.command_line import (
    BEST,
    DEFAULT_BATCH,
    OWN_PAIRS_OPTIONS,
    given_options,
    make_parser,
    training_options,
)
from weam_fairseq.evaluation.data_files import (
    EVERY,
    check_data_folder,
    check_language,
    check_split,
    data_files,
    download,
    from_hub,
    has_split,
    languages_of,
    languages_with_data,
    read_data,
)
from weam_fairseq.evaluation.did_it_help import compare_with_first, format_comparison, measure, report_command
from weam_fairseq.evaluation.fine_tuning.measure import Run
from weam_fairseq.evaluation.fine_tuning.recipe import ANSWER_DECODINGS, PRECISIONS, FineTuning, Recipe
from weam_fairseq.evaluation.held_out import FEWEST_PAIRS, HeldOut, check_tokenizer, read_bitext, read_data_bin
from weam_fairseq.evaluation.hf_folder import Folder, check_folder, find_device, hash_files, load_folder, open_folder
from weam_fairseq.evaluation.models import NamedModel, local_folder, name_models
from weam_fairseq.evaluation.pooling import read_pooling
from weam_fairseq.evaluation.retrieval import dev_and_test
from weam_fairseq.evaluation.scores import Entry, Score, installed_versions, make_score, read_scores, write_scores
from weam_fairseq.evaluation.terminal import format_table, print_replaced, print_warnings
from weam_fairseq.evaluation.trained_on import TrainedOn, count_trained_on, describe_trained_on

_AGAIN = "The same command resumes a fine-tuning that was interrupted."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the tasks. Returns the exit code: 0, or 2 after one sentence on stderr."""
    return run_command("weam-evaluate", lambda: _run(_parsed(argv)), _AGAIN)


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser()
    options = parser.parse_args(argv)
    if options.task:
        missing = [f"--{name}" for name in ("data", "languages") if getattr(options, name) is None]
        if missing:
            parser.error(f"the following arguments are required: {', '.join(missing)}")
        _refuse_unused(given_options(options, OWN_PAIRS_OPTIONS), f"{', '.join(options.task)} is named")
    return options


def _refuse_unused(given: Sequence[str], why: str) -> None:
    if given:
        raise InputError(
            f"{', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect, because {why}. Leave this out."
        )


def _run(options: argparse.Namespace) -> None:
    wait_without_spinning()
    bound_compiled_products()
    options.device = find_device(options.device)
    models = name_models(options.model, options.name)
    with ExitStack() as stack:
        if options.task:
            _run_tasks([_one_model(options, model) for model in models], stack)
        else:
            _run_comparison(options, models, stack)


def _one_model(options: argparse.Namespace, model: NamedModel) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "model": model.path, "name": model.name})


def _run_tasks(models: Sequence[argparse.Namespace], stack: ExitStack) -> None:
    scores: list[Score] = []
    try:
        for options, jobs in [(options, _checked_jobs(options, stack)) for options in models]:
            for job in jobs:
                for new in job.run(options):
                    if options.out is not None:
                        old = write_scores(options.out, new)  # immediately: the next fine-tuning may take hours
                        print_replaced(options.out, old, new)
                    scores += new
    finally:  # also after an error or Ctrl-C
        if scores:
            print_warnings(scores)
            print(format_table(scores))


# Options of named tasks, which mean nothing without one.
_TASK_OPTIONS = ("source_language", "split", "seeds", "layer")


def _run_comparison(options: argparse.Namespace, models: Sequence[NamedModel], stack: ExitStack) -> None:
    """Measures every model on the user's own held-out pairs, and compares them with the first."""
    _refuse_unused([*given_options(options, _TASK_OPTIONS), *training_options(options)], "no task is named")
    _check_places(options)
    held_out = _read_held_out(options)
    data_bins = list(dict.fromkeys([*([] if options.data is None else [options.data]), *options.training_data]))
    trained_on = {each.pair: count_trained_on(each, data_bins, options.data) for each in held_out if data_bins}
    folders = {}
    for model in models:
        folders[model.name] = local_folder(model.path, stack)
        check_folder(folders[model.name], options.device)
        if options.data is not None:
            check_tokenizer(model.name, folders[model.name], options.data)
        pooling = read_pooling(folders[model.name])
        if pooling is not None and pooling.mode is None:
            _note(f"{model.name}: no figures for its own pooling, because {pooling.why}.")
    for each in held_out:
        if each.of:
            _note(f"{each.pair}: {len(each):,} of {each.of:,} pairs are measured (--max-pairs).")
    if options.predictions is None and options.out is None:
        # The intervals need the items of each score, in files of their own.
        options.predictions = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weam-evaluate-")))
    entries = []
    for model in models:
        own = _one_model(options, NamedModel(model.name, folders[model.name]))
        scores = _compared_scores(own, held_out, trained_on)
        if options.out is not None:
            print_replaced(options.out, write_scores(options.out, scores), scores)
        base = Path() if options.out is None else options.out.parent
        entries += [Entry(score, f"the scores of {model.name}", base) for score in scores]
    names = [model.name for model in models]
    print(_measured(held_out))
    if data_bins:
        print(describe_trained_on(list(trained_on.items()), data_bins) + "\n")
    else:
        print("Give --training-data DATA_BIN to check whether a model was trained on these sentences.\n")
    print(format_comparison(compare_with_first(entries, names), names))
    if options.out is None:
        print("\nGive --out FILE to keep the scores, for a report with weam-report.")
    else:
        print(f"\nThe report: {report_command(options.out, names[0])}")


def _measured(held_out: Sequence[HeldOut]) -> str:
    counts = ", ".join(
        f"{len(dev_and_test(len(each))[1].lines):,} of {len(each):,} held-out pairs of {each.pair}" for each in held_out
    )
    return f"Measured on {counts}. The other half chose the best layer of each model."


def _note(text: str) -> None:
    print(f"weam-evaluate: note: {text}", file=sys.stderr)


def _read_held_out(options: argparse.Namespace) -> list[HeldOut]:
    if (options.data is None) == (options.bitext is None):
        raise InputError(
            "Without a task, give either --data DATA_BIN (its validation pairs are measured) or --bitext FILE.tsv. "
            "weam-evaluate --help lists the tasks."
        )
    if options.max_pairs < FEWEST_PAIRS:
        raise InputError(f"--max-pairs must be at least {FEWEST_PAIRS}, but is {options.max_pairs}.")
    if options.data is not None:
        if options.gold is not None:
            raise InputError("--gold holds the word links of --bitext FILE.tsv, so --data cannot use it. Leave it out.")
        _refuse_unused(given_options(options, ["gold_from"]), "no --gold is given")
        languages = None if options.languages in (None, *EVERY) else _named(options.languages)
        return read_data_bin(options.data, languages, options.max_pairs)
    if options.gold is None:
        _refuse_unused(given_options(options, ["gold_from"]), "no --gold is given")
    return [read_bitext(options.bitext, options.languages, options.gold, options.gold_from, options.max_pairs)]


def _compared_scores(
    options: argparse.Namespace, held_out: Sequence[HeldOut], trained_on: Mapping[str, TrainedOn]
) -> list[Score]:
    folder = load_folder(options.model, options.device, False, options.precision or PRECISIONS[0])
    predictions = options.predictions or options.out.parent / "predictions"
    scores = []
    for each in held_out:
        setting = Setting(
            data=options.data or options.bitext,
            languages=(),
            split=each.split,
            batch_size=DEFAULT_BATCH if options.batch_size is None else options.batch_size,
            predictions=predictions / _as_folder(options.name),
        )
        more = {"in_training_data": trained_on[each.pair]._asdict()} if each.pair in trained_on else {}
        for task, measurement, found_in in measure(folder, each, setting):
            measurement = replace(measurement, detail={**measurement.detail, **more})
            scores += _scores(task, folder, [measurement], setting, options, {measurement.language: found_in})
    return scores


class _Problems:
    """Collects the user's errors, so that all are reported at once."""

    def __init__(self) -> None:
        self._sentences: dict[str, None] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            self._sentences.setdefault(str(error))

    def raise_any(self) -> None:
        if len(self._sentences) == 1:
            raise InputError(next(iter(self._sentences)))
        if self._sentences:
            listed = " ".join(f"({number}) {each}" for number, each in enumerate(self._sentences, start=1))
            raise InputError(f"{len(self._sentences)} errors; nothing was evaluated: {listed}")


@dataclass(frozen=True)
class _Job:
    """A checked task. Its data is read again when it runs, so that memory holds the data of one task only."""

    task: Benchmark
    setting: Setting
    files: dict[str, list[Path]]
    seeds: list[int]

    def run(self, options: argparse.Namespace) -> Iterator[list[Score]]:
        """The scores of each seed."""
        data = read_data(self.task, self.files, self.setting.gold_from)
        hashes = _hashes(self.setting, self.files)
        for seed in self.seeds:
            yield _evaluate(self.task, data, hashes, replace(self.setting, seed=seed), options)


def _checked_jobs(options: argparse.Namespace, stack: ExitStack) -> list[_Job]:
    """Checks all options and reads all files of all tasks before the first task runs.

    Raises:
        InputError: the sentence lists all errors.
    """
    problems = _Problems()
    tasks: list[Benchmark] = []
    for name in dict.fromkeys(options.task):
        with problems.noted():
            tasks.append(find_benchmark(name))
    problems.raise_any()
    folder = None
    with problems.noted():
        _check_used(tasks, options)
    with problems.noted():
        _check_places(options)
    with problems.noted():
        options.model = local_folder(options.model, stack)
        check_folder(options.model, options.device)
        if any(task.fine_tuned is not None for task in tasks):
            folder = open_folder(options.model, options.device)
    jobs = []
    for task in tasks:
        with problems.noted():
            jobs.append(_prepare(task, options))
    for job in jobs:
        with problems.noted():
            data = read_data(job.task, job.files, job.setting.gold_from)
            if job.task.fine_tuned is not None and folder is not None:
                Run(job.task, folder, job.setting).check(data)
    problems.raise_any()
    return jobs


def _check_used(tasks: Sequence[Benchmark], options: argparse.Namespace) -> None:
    names = ", ".join(task.name for task in tasks)
    if options.gold_from is not None and not any(task.reads_links for task in tasks):
        raise InputError(f"--gold-from has no effect, because {names} reads no gold links. Leave the option out.")
    without = [task.name for task in tasks if not task.chooses_layer]
    if options.layer is not None and without:
        raise InputError(
            f"--layer has no effect on {', '.join(without)}. It is for tatoeba, word-alignment and lareqa. Measure the "
            "other tasks by a command of their own."
        )
    given = training_options(options)
    if given and all(task.fine_tuned is None for task in tasks):
        raise InputError(
            f"{', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect, because {names} measures the model "
            "without training. Leave this out, or name a task that fine-tunes."
        )
    if options.answer_decoding is not None and not any(task.answers_questions for task in tasks):
        answering = ", ".join(benchmark.name for benchmark in BENCHMARKS if benchmark.answers_questions)
        raise InputError(
            f"--answer-decoding has no effect, because {names} answers no questions. Leave the option out, or name one "
            f"of {answering}."
        )


def _check_places(options: argparse.Namespace) -> None:
    """Raises InputError: the scores file cannot be written or extended, or a results folder is not a folder."""
    if options.out is not None:
        check_file_destination(options.out, overwrite=True)
        if options.out.exists():
            read_scores(options.out)
    for option in ("work", "predictions"):
        path = getattr(options, option)
        if path is None:
            continue
        if path.exists() and not path.is_dir():
            raise InputError(f"--{option} {path} must be a folder, but is a file. Name another place.")
        check_parent(path / "x")


def _prepare(task: Benchmark, options: argparse.Namespace) -> _Job:
    seeds = _seeds(options, task)
    if from_hub(options.data) and task.hub is None:
        on_hub = ", ".join(benchmark.name for benchmark in BENCHMARKS if benchmark.hub is not None)
        raise InputError(f"{task.name} cannot be read from the Hub; these tasks can: {on_hub}. Give --data a folder.")
    setting = Setting(
        data=options.data,
        languages=(),
        source_language=options.source_language,
        split=options.split or task.default_split,
        seed=seeds[0],
        batch_size=DEFAULT_BATCH if options.batch_size is None else options.batch_size,
        predictions=_predictions(task, options),
        fine_tuning=_fine_tuning(options) if task.fine_tuned is not None else None,
        gold_from=options.gold_from,
        best_layer=options.layer == BEST and task.chooses_layer,
    )
    setting = _from_hub(task, setting, options.languages) if from_hub(options.data) else setting
    setting = replace(setting, languages=_languages(task, options.languages, setting))
    _check(task, setting)
    files = data_files(task, setting)
    if not task.splits and options.split is None:
        without = frozenset(language for language, paths in files.items() if not has_split(setting, paths))
        setting = replace(setting, without_split=without)
    return _Job(task, setting, files, seeds)


def _evaluate(
    task: Benchmark, data: Mapping[str, Any], hashes: Mapping[str, str], setting: Setting, options: argparse.Namespace
) -> list[Score]:
    if task.measure is not None:
        folder = load_folder(options.model, options.device, task.needs_head, options.precision or PRECISIONS[0])
        measurements = task.measure(folder, data, setting)
    else:
        folder = open_folder(options.model, options.device)
        measurements = Run(task, folder, setting).measure(data)
    return _scores(task.name, folder, measurements, setting, options, hashes)


def _scores(
    task: str,
    folder: Folder,
    measurements: Sequence[Measurement],
    setting: Setting,
    options: argparse.Namespace,
    hashes: Mapping[str, str],
) -> list[Score]:
    if folder.precision != PRECISIONS[0]:  # precision of encoding; a recipe contains its own
        measurements = [replace(each, method={**each.method, "precision": folder.precision}) for each in measurements]
    return [
        make_score(
            _with_relative_paths(measurement, options.out),
            task=task,
            model=options.name,
            checkpoint=folder.checkpoint,
            data=hashes[measurement.language],
            seed=setting.seed,
            versions=installed_versions(),
        )
        for measurement in measurements
    ]


def _hashes(setting: Setting, files: Mapping[str, list[Path]]) -> dict[str, str]:
    """Hashes of the data files, by the language of the measurements."""
    hashes = {language: hash_files(list(dict.fromkeys(paths))) for language, paths in files.items()}
    # Some tasks report by pair; measurements of the source language use all files.
    hashes |= {setting.pair(language): found for language, found in hashes.items()}
    every = list(dict.fromkeys(path for paths in files.values() for path in paths))
    hashes.setdefault(setting.source_language, hash_files(every))
    return hashes


def _seeds(options: argparse.Namespace, task: Benchmark) -> list[int]:
    try:
        seeds = list(dict.fromkeys(int(part) for part in options.seeds.split(",") if part.strip()))
    except ValueError:
        raise InputError(f"--seeds must be numbers such as 1,2,3, but is {options.seeds!r}.") from None
    if not seeds or min(seeds) < 0 or max(seeds) >= 1 << 32:
        raise InputError(f"--seeds must be numbers from 0 to {(1 << 32) - 1:,}, but is {options.seeds!r}.")
    return seeds if task.uses_seed else seeds[:1]


def _predictions(task: Benchmark, options: argparse.Namespace) -> Path | None:
    """One folder a model. By default, a fine-tuned model keeps its predictions in its own folder (None)."""
    every = options.predictions
    if every is None and options.out is not None and task.fine_tuned is None:
        every = options.out.parent / "predictions"
    return None if every is None else every / _as_folder(options.name)


def _as_folder(name: str) -> str:
    """A distinct folder name for each model name."""
    name = name.replace("%", "%25").replace("/", "%2F")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def _fine_tuning(options: argparse.Namespace) -> FineTuning:
    work = options.work
    if work is None and options.out is not None:
        work = options.out.parent / "fine-tuned"
    if work is None:
        raise InputError(
            "tasks that fine-tune store models and predictions. Give --out FILE (to store them in `fine-tuned` next to "
            "it), or --work DIR."
        )
    names = [field.name for field in fields(Recipe)]
    return FineTuning(
        work=work,
        train_on=options.train_on,
        train_files=tuple(options.train_file),
        dev_files=tuple(options.dev_file),
        hold_out=options.hold_out,
        train_examples=options.train_examples,
        select=options.select,
        oracle=options.oracle,
        answer_decoding=options.answer_decoding or ANSWER_DECODINGS[0],
        values={name: value for name in names if (value := getattr(options, name)) is not None},
        save_every=options.save_every,
    )


def _from_hub(task: Benchmark, setting: Setting, text: str) -> Setting:
    """Downloads the data of these languages. Returns the setting with its folder."""
    chosen = list(task.languages or ()) if text in EVERY else _named(text)
    check_split(task, setting.split)
    for language in chosen:
        check_language(task, language)
    choice = setting.fine_tuning
    assert choice is not None, "all that the Hub serves is fine-tuned"
    folder = download(task, str(setting.data), chosen, setting.split, choice.english, choice.work)
    return replace(setting, data=folder)


def _named(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _languages(task: Benchmark, text: str, setting: Setting) -> tuple[str, ...]:
    """`all` is every language of the benchmark, `present` every language that has files."""
    if text not in EVERY:
        return tuple(dict.fromkeys(_named(text)))
    check_data_folder(setting)
    found = languages_with_data(task, setting)
    missing = [language for language in languages_of(task, setting) if language not in found]
    if missing and text == "all":
        have = f"Give {','.join(found)}, or `present`." if found else "No language has data."
        raise InputError(
            f"{task.name}: {setting.data} has no data (split {setting.split!r}) for {', '.join(missing)}. {have}"
        )
    if not found:
        raise InputError(
            f"{task.name}: {setting.data} has no data of split {setting.split!r} in any language. "
            "Change --split or --data."
        )
    if missing:
        _note(f"{task.name}: no data (split {setting.split!r}) for {', '.join(missing)}.")
    return tuple(found)


def _check(task: Benchmark, setting: Setting) -> None:
    if not setting.languages:
        raise InputError("--languages must name at least one language, as in --languages de,es,zh.")
    if task.languages is None and setting.source_language in setting.languages:
        raise InputError(
            f"--languages names {setting.source_language!r}, which is the source language. "
            "Name the target languages only."
        )


def _with_relative_paths(measurement: Measurement, out: Path | None) -> Measurement:
    """Paths of predictions relative to the scores file, so that both can be moved together."""
    if out is None:
        return measurement
    detail = {
        name: os.path.relpath(value, out.parent) if name in ("predictions", "items") else value
        for name, value in measurement.detail.items()
    }
    return replace(measurement, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
