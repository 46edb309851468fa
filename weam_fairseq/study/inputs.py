"""Checks before hours of training: data, published models, files and options of each evaluation, number of GPUs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.hub import resolve
from weam_fairseq.evaluation.benchmark import Benchmark as Task
from weam_fairseq.evaluation.benchmark import Setting
from weam_fairseq.evaluation.benchmarks import BENCHMARKS as TASKS
from weam_fairseq.evaluation.command_line import make_parser
from weam_fairseq.evaluation.data_files import EVERY, data_files, from_hub
from weam_fairseq.study.config import TRAININGS, Config, Evaluation
from weam_fairseq.study.plan import Plan
from weam_fairseq.study.step import Step


def check_inputs(plan: Plan, steps: Sequence[Step]) -> None:
    """Raises InputError if an input of an open step is missing."""
    open_steps = [step for step in steps if not plan.is_done(step)]
    missing = [path for step in open_steps for path in step.inputs if not path.exists()]
    if missing:
        names = list(dict.fromkeys(str(path) for path in missing))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise InputError(
            f"All inputs of the study must exist, but these are missing: {', '.join(names[:3])}{more}. Add them, or "
            "name their folder with --data DIR (data) or --root DIR (all relative paths)."
        )
    for step in open_steps:
        for name in step.published:
            # A download, because the steps may run where the Hub cannot be reached.
            resolve(name, weights=step.kind == "import")
    evaluations = [step for step in open_steps if step.kind == "evaluate"]
    if evaluations:
        for evaluation in plan.config.evaluations:
            _check_languages(plan, evaluation)
        _check_options(plan, evaluations)


def check_processes(config: Config, steps: Sequence[Step]) -> None:
    """Raises InputError if a training on this machine would have another number of processes than the config gives: its
    updates would cover more or fewer pieces. On one machine weam-train starts one process for each GPU."""
    here = max(1, _gpus())
    for kind in (kind for kind in TRAININGS if any(step.kind == kind for step in steps)):
        nodes, tasks = config.processes(kind)
        if nodes * tasks != here:
            many = f"{nodes * tasks} process{'' if nodes * tasks == 1 else 'es'}"
            raise InputError(
                f"`slurm.{kind}` of the config asks for trainings of {many}, but this machine would run {here}. "
                f"Choose GPUs with CUDA_VISIBLE_DEVICES, or set `slurm: {{{kind}: {{gpus-per-node: {here}}}}}` in the "
                "config, with a matching update-freq; finished trainings are then made again."
            )


def _gpus() -> int:
    if shutil.which("nvidia-smi") is None:
        return 0
    import torch

    return torch.cuda.device_count()


def _check_options(plan: Plan, evaluations: Sequence[Step]) -> None:
    parser = make_parser()
    for step in evaluations:
        try:
            parser.parse_args(step.command[1:])
        except InputError as error:
            raise InputError(f"{plan.config.path}: the options of evaluation {step.id}: {error}") from None


def _check_languages(plan: Plan, evaluation: Evaluation) -> None:
    if from_hub(evaluation.data) or {*EVERY} & {*evaluation.languages}:
        return
    for task in (task for task in TASKS if task.name in evaluation.task):
        try:
            data_files(task, _setting(plan, evaluation, task))
        except InputError as error:
            raise InputError(f"{plan.config.path}: evaluation {evaluation.label}: {error}") from None


def _setting(plan: Plan, evaluation: Evaluation, task: Task) -> Setting:
    """The setting that weam-evaluate would make from the options."""
    options = evaluation.options
    split = options.get("split") or task.default_split
    source = options.get("source-language") or Setting.source_language
    return Setting(
        data=plan.paths.data / evaluation.data,
        languages=evaluation.languages,
        source_language=str(source),
        split=str(split),
    )
