"""Packed histories: every target of the split is learned exactly once, from the events before it."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plain_histories import build_histories
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.finetune.sequences import HistoryExamples, windows
from tsrec.histories import Histories
from tsrec.sid.tokens import HistoryTokens
from tsrec.training.packing import IGNORED, Example

BOS = 7
N_LEVELS = 3
N_ITEMS = 60
# Every token of every item is another one, so that a label names item and level.
ITEM_TOKENS = 1000 + np.arange(N_ITEMS * N_LEVELS).reshape(N_ITEMS, N_LEVELS)
TOKENS = HistoryTokens(BOS, ITEM_TOKENS)

users_splits = st.lists(st.lists(st.sampled_from(list(Split)), min_size=1, max_size=N_ITEMS), min_size=1, max_size=4)
window_sizes = st.integers(2, 12).flatmap(lambda items: st.tuples(st.just(items), st.integers(0, items - 1)))


def histories_of(users: list[list[Split]]) -> Histories:
    rows = [
        (f"u{user}", f"i{position:02}", position, position, split.value)
        for user, splits in enumerate(users)
        for position, split in enumerate(splits)
    ]
    frame = pd.DataFrame(rows, columns=[C.USER, C.ITEM, C.TIMESTAMP, C.POSITION, C.SPLIT])
    return build_histories(frame, pd.Series([f"i{item:02}" for item in range(N_ITEMS)]))


def _examples(histories: Histories, split: Split, items: int, context: int) -> list[Example]:
    return list(HistoryExamples(histories, TOKENS, split, items, context, task=0))


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=60), window_sizes)
def test_windows_cover_every_target_exactly_once(is_target: list[bool], size: tuple[int, int]) -> None:
    events = np.array([False, *is_target])  # the first event of a user is never a target
    covered: list[int] = []
    for start, first, end in windows(events, *size):
        assert end - start <= size[0]
        assert first - start == min(first, size[1])
        covered += [event for event in range(first, end) if events[event]]
    assert covered == np.flatnonzero(events).tolist()


@settings(deadline=None)
@given(users_splits, st.sampled_from([Split.TRAIN, Split.VALID]), window_sizes)
def test_labels_are_the_targets_of_the_split(users: list[list[Split]], split: Split, size: tuple[int, int]) -> None:
    histories = histories_of(users)
    learned = [label for example in _examples(histories, split, *size) for label in example.labels if label != IGNORED]
    targets = histories.items[histories.target_events(split)]
    assert learned == ITEM_TOKENS[targets].ravel().tolist()


@settings(deadline=None)
@given(users_splits, window_sizes)
def test_a_label_is_the_next_token_and_nothing_later_than_train_is_fed(
    users: list[list[Split]], size: tuple[int, int]
) -> None:
    histories = histories_of([[*splits, Split.VALID, Split.TEST] for splits in users])
    last_train = [max((i for i, split in enumerate(splits) if split is Split.TRAIN), default=-1) for splits in users]
    for example in _examples(histories, Split.TRAIN, *size):
        assert example.input_ids[0] == BOS
        assert len(example.input_ids) <= size[0] * N_LEVELS
        labelled = np.flatnonzero(example.labels[:-1] != IGNORED)
        assert (example.labels[labelled] == example.input_ids[labelled + 1]).all()
        assert example.labels[-1] != IGNORED  # a window ends at a target
        assert (example.labels[-1] - 1000) // N_LEVELS <= max(last_train)


def learned_by(example: Example) -> list[tuple[list[int], int]]:
    """Every label with all that its position sees, as plain sequences; slow, and obviously right."""
    forks = np.zeros_like(example.input_ids) if example.forks is None else example.forks
    trunk = example.input_ids[forks == 0].tolist()
    found = []
    for place, label in enumerate(example.labels):
        if label != IGNORED:
            fork = int(forks[place])
            first = int(np.flatnonzero(forks == fork)[0])
            before = trunk[:fork] if fork else []
            found.append(([*before, *example.input_ids[first : place + 1].tolist()], int(label)))
    return found


@settings(deadline=None)
@given(st.data())
def test_what_is_shown_and_what_is_learned_may_be_two_items(data: st.DataObject) -> None:
    """Every token of every target is predicted from exactly the items shown before it and its own tokens before."""
    n_events, n_levels = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 3))
    numbers = st.lists(st.integers(0, 3), min_size=n_events, max_size=n_events)
    shown, targets = (np.array(data.draw(numbers)) for _ in range(2))
    learned = np.array([False, *data.draw(st.lists(st.booleans(), min_size=n_events - 1, max_size=n_events - 1))])
    tokens = ITEM_TOKENS[:, :n_levels]
    written = HistoryTokens(BOS, tokens)
    plain = HistoryExamples(histories_of([[Split.TRAIN] * 2]), written, Split.TRAIN, 9, 0, task=0)
    example = plain.encode(shown, targets, learned, tasks=np.arange(n_events))
    wanted = []
    for event in np.flatnonzero(learned):
        before = [BOS, *(token for item in shown[:event] for token in tokens[item].tolist())]
        assert written.prompt(shown[:event]).tolist() == before  # decoding asks as training answered
        target = tokens[targets[event]].tolist()
        wanted += [([*before, *target[:level]], target[level]) for level in range(n_levels)]
    assert sorted(learned_by(example)) == sorted(wanted)
    counted = example.task[example.labels != IGNORED]
    assert np.bincount(counted, minlength=n_events).tolist() == (learned * n_levels).tolist()
    n_leaving = int((learned & (shown != targets)).sum())
    n_trunk = n_events * n_levels
    assert len(example.input_ids) == n_trunk + n_leaving * (n_levels - 1)
    assert example.positions().max() < n_trunk  # a branch is never longer than what it stands for


def test_one_user_by_hand() -> None:
    histories = histories_of([[Split.TRAIN] * 5])
    first, second = _examples(histories, Split.TRAIN, items=4, context=2)
    a, b, c, d, e = ITEM_TOKENS[:5].tolist()
    assert first.input_ids.tolist() == [BOS, *a, *b, *c, *d[:2]]
    assert first.labels.tolist() == [IGNORED] * 3 + [*b, *c, *d]
    assert second.input_ids.tolist() == [BOS, *c, *d, *e[:2]]
    assert second.labels.tolist() == [IGNORED] * 6 + e
