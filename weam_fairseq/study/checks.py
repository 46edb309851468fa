"""What must be there before hours of training: data, published folders, files of each evaluation's languages, GPUs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.hub import resolve
from weam_fairseq.evaluation.measurement import Setting
from weam_fairseq.evaluation.task import Task
from weam_fairseq.evaluation.tasks import TASKS, data_files
from weam_fairseq.study.config import TRAININGS, Config, Evaluation
from weam_fairseq.study.plan import Plan
from weam_fairseq.study.step import Step, StepFolder, from_hub

# Names that stand for languages, which weam-evaluate looks up.
_ALL = {"all", "present"}


def check_inputs(plan: Plan, steps: Sequence[Step]) -> None:
    """Raises InputError for what steps that are to be made will need and is not there."""
    open_steps = [step for step in steps if not StepFolder(plan.paths.study / step.id).is_done(step.languages)]
    missing = [path for step in open_steps for path in step.inputs if not path.exists()]
    if missing:
        names = list(dict.fromkeys(str(path) for path in missing))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise InputError(
            f"All inputs of the study must be there, but {', '.join(names[:3])}{more} are not: put them there, or say "
            "where they are with --data DIR (data) or --root DIR (all relative paths)."
        )
    for step in open_steps:
        for name in step.published:
            # Downloads it: the steps may run where the Hub cannot be reached.
            resolve(name, weights=step.kind == "import")
    if any(step.kind == "evaluate" for step in open_steps):
        for evaluation in plan.config.evaluations:
            _check_languages(plan, evaluation)


def check_processes(config: Config, steps: Sequence[Step]) -> None:
    """Raises InputError where a training on this machine would be of another number of processes than the config's, and
    so have updates over more or fewer pieces. Here weam-train starts one for each GPU."""
    here = max(1, _gpus())
    for kind in (kind for kind in TRAININGS if any(step.kind == kind for step in steps)):
        nodes, tasks = config.processes(kind)
        if nodes * tasks != here:
            says = "says" if config.slurm else "would say"
            many = f"{nodes * tasks} process{'' if nodes * tasks == 1 else 'es'}"
            raise InputError(
                f"Trainings must be of {many}, as `slurm.{kind}` in the config {says},"
                f" but on this machine they would be of {here}: choose GPUs by CUDA_VISIBLE_DEVICES, or give `slurm: "
                f"{{{kind}: {{gpus-per-node: {here}}}}}`, with an update-freq that makes up for it."
            )


def _gpus() -> int:
    if shutil.which("nvidia-smi") is None:
        return 0
    import torch

    return torch.cuda.device_count()


def _check_languages(plan: Plan, evaluation: Evaluation) -> None:
    if from_hub(evaluation.data) or _ALL & set(evaluation.languages):
        return
    for task in (task for task in TASKS if task.name in evaluation.task):
        try:
            data_files(task, _setting(plan, evaluation, task))
        except InputError as error:
            raise InputError(f"{plan.config.path}: evaluation {evaluation.label}: {error}") from None


def _setting(plan: Plan, evaluation: Evaluation, task: Task) -> Setting:
    """As weam-evaluate makes it of its options."""
    options = evaluation.options
    split = options.get("split") or (task.splits[0] if task.splits else Setting.split)
    source = options.get("source-language") or Setting.source_language
    return Setting(
        data=plan.paths.data / evaluation.data,
        languages=evaluation.languages,
        source_language=str(source),
        split=str(split),
    )
