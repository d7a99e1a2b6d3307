"""No code behind a stage changes without somebody saying whether its results do."""

import json

import pytest

from tests.stage_code import COMMAND, RECORD, Record, code_hash, current, unanswered, versions_and_modules

CODE = '''
"""A module."""
import logging
logger = logging.getLogger(__name__)
_DEVIATION = 0.02  # chosen on valid

def fit(width):
    """Fit."""
    if width < 1:
        raise ValueError(f"width {width}: too small")
    logger.info("fitting %d", width)
    return Field(width * _DEVIATION, description="How wide.")
'''


@pytest.fixture(scope="module")
def now() -> Record:
    return current()


def test_the_code_of_every_stage_is_the_recorded_one_or_its_version_was_raised(now: Record) -> None:
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    for stage, modules in unanswered(recorded, now).items():
        pytest.fail(
            f"{stage}: its code has changed and its version has not ({', '.join(modules)}). Raise the version if it "
            f"gives other results for the same inputs; then, in any case, run `{COMMAND}` and commit {RECORD.name}."
        )
    assert recorded == now, f"versions were raised, or modules came or went: run `{COMMAND}` and commit {RECORD.name}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A module.", "Other words."),
        ('    """Fit."""\n', ""),
        ("  # chosen on valid", ""),
        ("width {width}: too small", "give more than {width}"),
        ('"fitting %d", width', '"fitting"'),
        ('    logger.info("fitting %d", width)\n', ""),
        ("How wide.", "The width."),
        ("(width * _DEVIATION,", "(\n        width * _DEVIATION,"),
    ],
)
def test_words_and_layout_are_free(old: str, new: str) -> None:
    assert CODE.count(old) == 1
    assert code_hash(CODE.replace(old, new)) == code_hash(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.02", "0.05"), ("width < 1", "width <= 1"), ("width *", "width +"), ("ValueError", "KeyError")],
)
def test_what_is_computed_is_not(old: str, new: str) -> None:
    assert CODE.count(old) == 1
    assert code_hash(CODE.replace(old, new)) != code_hash(CODE)


def _with_other(now: Record, module: str) -> Record:
    """The record of a time at which a module was another."""
    return {**now, "modules": {**now["modules"], module: "0" * 12}}


def test_a_changed_constant_of_a_member_asks_for_that_members_version_alone(now: Record) -> None:
    recorded = _with_other(now, "tsrec.recommenders.sasrec")
    assert unanswered(recorded, now) == {"sasrec": ["tsrec.recommenders.sasrec"]}
    recorded["versions"] = {**now["versions"], "sasrec": now["versions"]["sasrec"] - 1}
    assert unanswered(recorded, now) == {}, "it was raised"


def test_what_all_stages_share_asks_for_all_of_them_at_once(now: Record) -> None:
    asked = unanswered(_with_other(now, "tsrec.columns"), now)
    assert {"ingest", "sids", "popular", "finetune", "fuse", "evaluate", "served", "compare"} <= set(asked)


@pytest.mark.parametrize(
    ("stage", "its", "not_its"),
    [
        ("sids", {"sids.rq_vae", "sids.collisions"}, {"finetune.stage", "recommenders.fusion_gate", "config.finetune"}),
        ("finetune", {"training.trainer", "finetune.model", "config.finetune"}, {"sids.rq_vae", "data.stage"}),
        (
            "soft_targets",
            {"recommenders.refit", "recommenders.fusion_gate"},
            {"recommenders.sasrec", "recommenders.popular"},
        ),
        (
            "sasrec",
            {"recommenders.sasrec", "training.trainer"},
            {"recommenders.popular", "recommenders.member_registry"},
        ),
        ("ingest", {"data.stage", "data.sources.movielens", "data.timestamps"}, {"store.store", "errors"}),
    ],
)
def test_a_stages_code_is_what_it_imports(stage: str, its: set[str], not_its: set[str]) -> None:
    modules = {module.removeprefix("tsrec.") for module in versions_and_modules()[stage][1]}
    assert its <= modules and not modules & not_its
