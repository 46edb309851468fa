"""What must be there before hours of training: data, published folders, the files of each evaluation's languages."""

from __future__ import annotations

from collections.abc import Sequence

from weam_fairseq.errors import InputError
from weam_fairseq.evaluation.measurement import Setting
from weam_fairseq.evaluation.task import Task
from weam_fairseq.evaluation.tasks import TASKS, data_files
from weam_fairseq.study.grid.plan import Plan
from weam_fairseq.study.grid.settings import Evaluation
from weam_fairseq.study.grid.step import Step, from_hub
from weam_fairseq.study.grid.step_folder import StepFolder

# Names that stand for languages, which weam-evaluate looks up.
_ALL = {"all", "present"}


def check_inputs(plan: Plan, steps: Sequence[Step]) -> None:
    """Raises InputError for what steps that are to be made will need and is not there."""
    open_steps = [step for step in steps if not StepFolder(plan.place.study / step.id).is_done(step.languages)]
    missing = [path for step in open_steps for path in step.inputs if not path.exists()]
    if missing:
        names = list(dict.fromkeys(str(path) for path in missing))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise InputError(
            f"All inputs of the study must be there, but {', '.join(names[:3])}{more} are not: put them there, or say "
            "where they are with --data DIR (data) or --root DIR (all relative paths)."
        )
    if any(step.kind == "evaluate" for step in open_steps):
        for evaluation in plan.config.evaluations:
            _check_languages(plan, evaluation)


def _check_languages(plan: Plan, evaluation: Evaluation) -> None:
    if from_hub(evaluation.data) or _ALL & set(evaluation.languages):
        return
    for task in (task for task in TASKS if task.name in evaluation.tasks):
        try:
            data_files(task, _setting(plan, evaluation, task))
        except InputError as error:
            raise InputError(f"{plan.config.path}: evaluation {evaluation.name}: {error}") from None


def _setting(plan: Plan, evaluation: Evaluation, task: Task) -> Setting:
    """As weam-evaluate makes it of its options."""
    options = evaluation.options
    split = options.get("split") or (task.splits[0] if task.splits else Setting.split)
    source = options.get("source-language") or Setting.source_language
    return Setting(
        data=plan.place.data / evaluation.data,
        languages=evaluation.languages,
        source_language=str(source),
        split=str(split),
    )
