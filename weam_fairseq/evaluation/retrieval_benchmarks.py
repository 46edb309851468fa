"""The benchmarks that need no fine-tuning, as rows of the table of tasks."""

from __future__ import annotations

from weam_fairseq.evaluation import bucc_files, lareqa_files, mewslix_files
from weam_fairseq.evaluation.bucc import measure_bucc
from weam_fairseq.evaluation.bucc_files import read_bucc
from weam_fairseq.evaluation.encoder_alignment import measure_word_alignment, read_alignment
from weam_fairseq.evaluation.language_codes import LASER_CODES
from weam_fairseq.evaluation.lareqa import measure_lareqa
from weam_fairseq.evaluation.lareqa_files import read_pool
from weam_fairseq.evaluation.mewslix import measure_mewslix
from weam_fairseq.evaluation.mewslix_files import read_mewslix
from weam_fairseq.evaluation.task import Task
from weam_fairseq.evaluation.tatoeba import measure_tatoeba, read_tatoeba
from weam_fairseq.evaluation.word_similarity import measure_word_similarity

# A gold set goes by its pair, or, given as a language, by the file's own name: `--languages en-fr,ro-en`.
_ALIGNMENT_NAMES = ("{split}.{pair}", "{pair}.{split}", "{pair}", "{language}.{split}", "{language}")
_ALIGNMENT_SETS = (
    "github.com/neulab/awesome-align, README (de-en, en-fr, ro-en, ja-en, zh-en); github.com/SapienzaNLP/XL-WA (en-es, "
    "en-ru and others); web.eecs.umich.edu/~mihalcea/wpt05 (en-hi)"
)
_ALIGNMENT_FILES = tuple(tuple(f"{name}.{suffix}" for name in _ALIGNMENT_NAMES) for suffix in ("src-tgt", "gold"))


def _bucc_files(split: str, published: str) -> tuple[tuple[str, ...], ...]:
    """Source, English and gold, as XTREME's download names them (in `bucc2018`), or as BUCC does, beside each other or
    in a folder.
    """
    return tuple(
        (
            f"{{language}}-en.{split}.{side}",
            f"bucc2018/{{language}}-en.{split}.{side}",
            f"{{language}}-en.{published}.{side}",
            f"{{language}}-en/{{language}}-en.{published}.{side}",
            f"bucc2018/{{language}}-en/{{language}}-en.{published}.{side}",
        )
        for side in ("{language}", "en", "gold")
    )


TASKS: tuple[Task, ...] = (
    Task(
        name="tatoeba",
        summary="an English sentence's translation among all sentences of the file",
        languages=tuple(LASER_CODES),
        files=(
            ("tatoeba.{laser}-eng.{laser}", "{language}-en.{language}"),
            ("tatoeba.{laser}-eng.eng", "{language}-en.en"),
        ),
        read=read_tatoeba,
        measure=measure_tatoeba,
        metric="accuracy",
        needs_head=False,
        citation="Artetxe & Schwenk 2019; Hu et al. 2020 (XTREME)",
        splits=("test",),
        published="github.com/facebookresearch/LASER, data/tatoeba/v1",
    ),
    Task(
        name="bucc",
        summary="the translated sentences of two collections, threshold from dev",
        languages=bucc_files.LANGUAGES,
        files=(*_bucc_files("dev", "sample"), *_bucc_files("test", "training")),
        read=read_bucc,
        measure=measure_bucc,
        metric="f1",
        needs_head=False,
        citation="Zweigenbaum, Sharoff & Rapp 2018; Hu et al. 2020 (XTREME)",
        splits=("test",),
        published="comparable.limsi.fr/bucc2018",
    ),
    Task(
        name="mewslix",
        summary="the entity that a mention in the news names, among all entities",
        languages=mewslix_files.LANGUAGES,
        files=(
            "candidate_set_entities.jsonl",
            ("wikinews_mentions-{split}.jsonl", "wikinews_mentions/{split}-{language}.jsonl"),
        ),
        read=read_mewslix,
        measure=measure_mewslix,
        metric="map@20",
        needs_head=False,
        citation="Ruder et al. 2021 (XTREME-R)",
        splits=("test", "dev"),
        published="github.com/google-research/google-research, dense_representations_for_entity_retrieval/mel",
    ),
    Task(
        name="lareqa",
        summary="a question's answer sentences among those of 11 languages",
        languages=lareqa_files.LANGUAGES,
        files=tuple((f"{language}.json", f"xquad-r/{language}.json") for language in lareqa_files.LANGUAGES),
        read=read_pool,
        measure=measure_lareqa,
        metric="map@20",
        needs_head=False,
        citation="Roy et al. 2020 (LAReQA); Ruder et al. 2021 (XTREME-R)",
        splits=("test",),
        published="github.com/google-research-datasets/lareqa, xquad-r",
    ),
    Task(
        name="word-alignment",
        summary="links from the model's states against hand-made ones",
        languages=None,
        files=_ALIGNMENT_FILES,
        read=read_alignment,
        reads_links=True,
        measure=measure_word_alignment,
        metric="aer",
        needs_head=False,
        citation="Och & Ney 2003 (AER); Jalili Sabet et al. 2020 (argmax)",
        published=_ALIGNMENT_SETS,
    ),
    Task(
        name="word-similarity",
        summary="linked words against random ones, by layer",
        languages=None,
        files=_ALIGNMENT_FILES,
        read=read_alignment,
        reads_links=True,
        measure=measure_word_similarity,
        metric="auc",
        needs_head=False,
        citation="Yang et al. 2021 (WEAM)",
        published=_ALIGNMENT_SETS,
        uses_seed=True,
    ),
)
