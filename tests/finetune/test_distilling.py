"""Targets drawn from soft ones: by their probability, the same at the same place, and the rest stays as it was."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from tests.finetune.stage_run import SPACE, config, parents, run
from tsrec.columns import Split
from tsrec.config import Config, FinetuneConfig, canonical, load_config
from tsrec.errors import ConfigError
from tsrec.finetune import STAGE
from tsrec.finetune.distilling import NO_ITEM, SoftTargets
from tsrec.finetune.examples import RunExamples, build_examples
from tsrec.finetune.tasks import DISTILLED, TASK_NAMES
from tsrec.histories import Histories, read_histories
from tsrec.sid.tokens import add_sid_tokens
from tsrec.store import Artifact, ArtifactStore
from tsrec.training.packing import IGNORED, Example

HISTORIES = {"history": 1}


def _histories(before: dict[str, Artifact]) -> Histories:
    return read_histories(before["ingest"])


@pytest.fixture(scope="module")
def before(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return parents(ArtifactStore(tmp_path_factory.mktemp("store")), tiny_backbone)


def _build(before: dict[str, Artifact], backbone: Path, **changes: object) -> RunExamples:
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    return build_examples(
        config(tasks=HISTORIES, **changes), before, tokenizer, SPACE, add_sid_tokens(tokenizer, SPACE)
    )


def _same(one: Example, other: Example) -> bool:
    pairs = [(one.input_ids, other.input_ids), (one.labels, other.labels), (one.positions(), other.positions())]
    return all(np.array_equal(a, b) for a, b in pairs) and np.array_equal(one.task, other.task)


def test_items_are_drawn_by_their_probability(before: dict[str, Artifact]) -> None:
    histories = _histories(before)
    soft = SoftTargets.read(before["soft_targets"], histories)
    events = histories.target_events(Split.TRAIN)
    known, random = np.isin(np.arange(len(histories.items)), events[::2]), np.random.default_rng(0)
    whole = slice(0, len(histories.items))
    drawn = np.stack([soft.draw(whole, random) for _ in range(400)])
    assert (drawn[:, ~known] == NO_ITEM).all()
    assert set(np.unique(drawn[:, known])) == {1, 2}
    share = (drawn[:, known] == 1).mean()
    assert share == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / drawn[:, known].size))
    part = soft.draw(slice(3, 40), np.random.default_rng(1))
    assert len(part) == 37 and ((part == NO_ITEM) == ~known[3:40]).all()


def test_a_share_of_what_has_soft_targets_is_drawn(before: dict[str, Artifact], tiny_backbone: Path) -> None:
    taught = TASK_NAMES.index(DISTILLED)
    n_known = len(_histories(before).target_events(Split.TRAIN)[::2])
    n_all = len(_histories(before).target_events(Split.TRAIN))
    epochs = 20
    built = _build(before, tiny_backbone, epochs=epochs, distill={"share": 0.25})
    labels = [np.broadcast_to(e.task, e.labels.shape)[e.labels != IGNORED] for e in built.train]
    tasks = np.concatenate(labels)
    assert len(tasks) == n_all * SPACE.n_levels * epochs  # as many as without
    n_taught = (tasks == taught).sum() / SPACE.n_levels
    assert n_taught == pytest.approx(0.25 * n_known * epochs, abs=4 * np.sqrt(0.25 * 0.75 * n_known * epochs))


def test_an_example_is_the_same_at_the_same_place_and_another_elsewhere(
    before: dict[str, Artifact], tiny_backbone: Path
) -> None:
    one, again = (_build(before, tiny_backbone, distill={"share": 0.5}) for _ in range(2))
    backwards = [again.train[index] for index in reversed(range(len(again.train)))][::-1]
    assert all(map(_same, one.train, backwards))
    seeded = _build(before, tiny_backbone, distill={"share": 0.5}, seed=2)
    assert not all(map(_same, one.train, seeded.train))
    assert all(example.forks is None for example in one.valid)


def test_two_epochs_draw_different_targets(before: dict[str, Artifact], tiny_backbone: Path) -> None:
    built = _build(before, tiny_backbone, distill={"share": 1})
    trunks: dict[bytes, set[bytes]] = {}
    for example in built.train:
        forks = np.zeros_like(example.input_ids) if example.forks is None else example.forks
        trunks.setdefault(example.input_ids[forks == 0].tobytes(), set()).add(example.labels.tobytes())
    assert len(trunks) == len(built.train) // 2
    assert sum(len(labels) == 2 for labels in trunks.values()) > len(trunks) / 4  # short ones have few to draw


def test_off_is_what_was_before(before: dict[str, Artifact], tiny_backbone: Path) -> None:
    off = _build({name: artifact for name, artifact in before.items() if name != "soft_targets"}, tiny_backbone)
    assert all(example.forks is None and example.task == 0 for example in off.train)
    assert "distill" not in canonical(FinetuneConfig())
    assert "soft_targets" not in STAGE.parents(Config())


def test_training_learns_what_is_taught(tmp_path: Path, tiny_backbone: Path) -> None:
    settings = config(tasks=HISTORIES, epochs=6, learning_rate=5e-3, distill={"share": 1})
    log = run(tmp_path, tiny_backbone, settings).frame("training_log")
    taught = log[(log["split"] == "train") & (log["task"] == DISTILLED)]["loss"]
    assert taught.iloc[-1] < taught.iloc[0] - 0.5  # all of it is items 1 and 2
    assert set(log[log["split"] == "valid"]["task"]) == {"history"}


def test_targets_of_histories_that_nobody_trains_on_cannot_be_distilled() -> None:
    with pytest.raises(ConfigError, match=r"distill\.share = 0\.5 .* tasks\.history = 0"):
        load_config(None, ["finetune.distill.share=0.5", "finetune.tasks.history=0", "finetune.tasks.title_to_sid=1"])
