"""Packing: every example comes back whole, and no example sees another."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaModel

from tsrec.training.packing import IGNORED, SAME_PLACE, Example, pack, packed_attention_mask

PAD = 0


def _example(index: int, length: int) -> Example:
    random = np.random.default_rng(index)
    ids = random.integers(1, 50, length)
    labels = np.where(random.random(length) < 0.5, random.integers(1, 50, length), IGNORED)
    return Example(ids, labels, task=index)


def _unpack(batch: dict[str, torch.Tensor]) -> list[tuple[int, list[int], list[int], list[int]]]:
    found = []
    for row, segments in enumerate(batch["segment_ids"]):
        for segment in range(1, int(segments.max()) + 1):
            place = segments == segment
            tasks = set(batch["tasks"][row, place].tolist())
            assert len(tasks) == 1
            columns = [batch[name][row, place].tolist() for name in ("input_ids", "labels", "position_ids")]
            found.append((tasks.pop(), *columns))
    return sorted(found)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=30))
def test_every_example_comes_back_whole_exactly_once(lengths: list[int]) -> None:
    examples = [_example(index, length) for index, length in enumerate(lengths)]
    batch = pack(examples, PAD)
    assert _unpack(batch) == [
        (e.task, e.input_ids.tolist(), e.labels.tolist(), list(range(len(e.input_ids)))) for e in examples
    ]
    padding = batch["segment_ids"] == 0
    assert (batch["input_ids"][padding] == PAD).all()
    assert (batch["labels"][padding] == IGNORED).all()
    assert batch["input_ids"].shape[1] <= max(64, *lengths)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=30))
def test_rows_are_at_least_half_full(lengths: list[int]) -> None:
    n_rows = pack([_example(index, length) for index, length in enumerate(lengths)], PAD)["input_ids"].shape[0]
    assert n_rows <= 2 * sum(lengths) / 64 + 1  # any first fit: no two rows would fit into one


@pytest.fixture(scope="module")
def tiny_llama() -> LlamaModel:
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaModel(config).eval()


@settings(max_examples=20)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_hidden_states_of_packed_examples_equal_those_alone(tiny_llama: LlamaModel, lengths: list[int]) -> None:
    examples = [_example(index, length) for index, length in enumerate(lengths)]
    batch = pack(examples, PAD)
    with torch.no_grad():
        packed = tiny_llama(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            attention_mask=packed_attention_mask(batch["segment_ids"], batch["position_ids"]),
            use_cache=False,
        ).last_hidden_state
        assert torch.isfinite(packed).all()  # padding too
        for example in examples:
            alone = tiny_llama(torch.from_numpy(example.input_ids)[None]).last_hidden_state[0]
            place = (batch["tasks"] == example.task) & (batch["segment_ids"] > 0)
            torch.testing.assert_close(packed[place], alone, atol=1e-5, rtol=1e-5)


@st.composite
def branched(draw: st.DrawFn) -> Example:
    """A trunk of a few tokens and some branches, of which several may leave at the same place."""
    length = draw(st.integers(1, 12))
    places = st.tuples(st.integers(1, length), st.integers(0, 2))
    forks = [place + n * SAME_PLACE for place, n in draw(st.lists(places, unique=True, max_size=5))]
    lengths = [draw(st.integers(1, 4)) for _ in forks]
    ids = np.array(draw(st.lists(st.integers(1, 49), min_size=length + sum(lengths), max_size=length + sum(lengths))))
    return Example(ids, ids, task=0, forks=np.repeat([0, *forks], [length, *lengths]))


@settings(max_examples=30)
@given(st.lists(branched(), min_size=1, max_size=4))
def test_a_branch_is_what_the_sequence_would_be_that_goes_on_so(
    tiny_llama: LlamaModel, examples: list[Example]
) -> None:
    examples = [Example(e.input_ids, e.labels, index, e.forks) for index, e in enumerate(examples)]
    batch = pack(examples, PAD)
    with torch.no_grad():
        packed = tiny_llama(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            attention_mask=packed_attention_mask(batch["segment_ids"], batch["position_ids"], batch["forks"]),
            use_cache=False,
        ).last_hidden_state
        assert torch.isfinite(packed).all()
        for example in examples:
            mine = packed[(batch["tasks"] == example.task) & (batch["segment_ids"] > 0)]
            trunk = example.input_ids[example.forks == 0]
            for fork in np.unique(example.forks):
                is_branch = example.forks == fork
                before = trunk[: fork % SAME_PLACE]
                plain = torch.from_numpy(np.concatenate([before, example.input_ids[is_branch]]))
                wanted = tiny_llama(plain[None]).last_hidden_state[0, len(before) :]
                torch.testing.assert_close(mine[is_branch], wanted, atol=1e-5, rtol=1e-5)


def test_without_branches_a_batch_is_what_it_was() -> None:
    assert "forks" not in pack([_example(0, 5)], PAD)


def test_mask_is_causal_within_a_segment_only() -> None:
    mask = packed_attention_mask(torch.tensor([[1, 1, 2, 0, 0]]), torch.tensor([[0, 1, 0, 0, 0]]))[0, 0].int()
    assert mask.tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]
