"""The policy: rewards of its rollouts, which are what decoding would write, and its loss, one rollout at a time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.plain_histories import build_histories
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import FinetuneConfig
from tsrec.decode.beam import BeamSearch
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel
from tsrec.finetune.grpo import Policy, RolloutGroups, TargetPrompts, advantages, branch_rollouts, rewards
from tsrec.finetune.model import SidModel
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import HistoryTokens, sid_token_ids
from tsrec.training.packing import IGNORED, pack

SPACE = SidSpace((3, 4, 5))
CODES = np.array([[item % 3, item // 3 % 4, item // 12] for item in range(40)])
BEAMS, KL, OPENING = 8, 0.3, 0


def _sid_model(backbone: Path, seed: int, **settings: object) -> SidModel:
    language_model = AutoModelForCausalLM.from_pretrained(backbone, dtype=torch.float32, attn_implementation="sdpa")
    torch.manual_seed(seed)
    rows = torch.randn(SPACE.n_tokens, 32) * 0.5
    n_text = len(AutoTokenizer.from_pretrained(backbone))
    return SidModel(language_model, rows, SPACE, n_text, n_tasks=0, config=FinetuneConfig(**{"dropout": 0, **settings}))


def _policy(backbone: Path, autocast: torch.dtype | None = None, **settings: object) -> Policy:
    reference = _sid_model(backbone, seed=2)  # other rows, so that they diverge
    return Policy(_sid_model(backbone, seed=1, **settings), reference, CODES, BEAMS, KL, autocast)


def _targets(n_text: int) -> TargetPrompts:
    random = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{random.integers(40):02}", place, place, Split.TRAIN.value)
        for user in range(6)
        for place in range(2 + user)
    ]
    frame = pd.DataFrame(rows, columns=[C.USER, C.ITEM, C.TIMESTAMP, C.POSITION, C.SPLIT])
    histories = build_histories(frame, pd.Series([f"i{item:02}" for item in range(40)]))
    events = histories.target_events(Split.TRAIN)
    return TargetPrompts(histories, events, HistoryTokens(OPENING, sid_token_ids(n_text, SPACE, CODES)), max_items=4)


def _batch(policy: Policy) -> dict[str, torch.Tensor]:
    targets = _targets(policy.model.n_text)
    return pack([targets[index] for index in range(len(targets))], pad_id=0)


def _rolled_out(policy: Policy, batch: dict[str, torch.Tensor]) -> RolloutGroups:
    return policy.roll_out(batch["input_ids"], batch["segment_ids"], batch["labels"])


def _log_probabilities(model: SidModel, prompt: np.ndarray, tokens: np.ndarray) -> torch.Tensor:
    """(L,) log-probabilities of a rollout, each among its level's tokens: one plain sequence, all logits."""
    ids = torch.from_numpy(np.concatenate([prompt, tokens[:-1]]))[None]
    hidden = model.decoder(inputs_embeds=model.embed(ids), use_cache=False).last_hidden_state[0, len(prompt) - 1 :]
    logits = hidden @ model.sid_rows.T
    parts = []
    for level, (offset, size) in enumerate(zip(SPACE.offsets, SPACE.sizes, strict=True)):
        log_probabilities = logits[level, offset : offset + size].log_softmax(0)
        parts.append(log_probabilities[int(tokens[level]) - model.n_text - offset])
    return torch.stack(parts)


def _slow_loss(policy: Policy, groups: RolloutGroups) -> torch.Tensor:
    """GRPO as it is written down: the mean over groups, rollouts and tokens, of ratio times advantage, less KL.

    Groups without the next item have no advantage, and no KL here.
    """
    total = torch.zeros(())
    for group in range(len(groups.prompts)):
        if not groups.hit[group]:
            continue
        group_advantages = advantages(groups.rewards[group : group + 1])[0]
        for tokens, advantage in zip(groups.tokens[group], group_advantages, strict=True):
            now = _log_probabilities(policy.model, groups.prompts[group], tokens)
            before = _log_probabilities(policy._reference[0], groups.prompts[group], tokens).detach()
            ratio = (now - now.detach()).exp()
            divergence = (before - now).exp() - (before - now) - 1
            total = total - (ratio * float(advantage) - policy.kl * divergence).mean() / BEAMS
    return total / len(groups.prompts)


def _gradient(model: SidModel) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_the_gradient_is_that_of_one_rollout_at_a_time(tiny_backbone: Path) -> None:
    policy = _policy(tiny_backbone)
    batch = _batch(policy)
    groups = _rolled_out(policy, batch)
    assert 2 <= groups.hit.sum() < len(groups.hit)
    outputs = policy(**batch)
    outputs["loss"].backward()
    fast = _gradient(policy.model)
    policy.zero_grad()
    slow = _slow_loss(policy, groups)
    slow.backward()
    torch.testing.assert_close(fast, _gradient(policy.model), atol=1e-6, rtol=1e-4)
    assert fast.abs().max() > 1e-3
    reward, hit, divergence = (outputs["task_loss"] / outputs["task_count"]).tolist()
    assert reward == pytest.approx(groups.rewards.sum(axis=1).mean(), abs=1e-6)
    assert hit == pytest.approx(groups.hit.mean())
    # All ratios are 1 and advantages add up to 0, so what is left of the slow loss is the divergence.
    assert float(slow.detach()) == pytest.approx(KL * divergence * hit, abs=1e-5)


def test_rollouts_are_the_beams_of_the_exported_model(tiny_backbone: Path, tmp_path: Path) -> None:
    policy = _policy(tiny_backbone)
    groups = _rolled_out(policy, _batch(policy))
    targets = _targets(policy.model.n_text)
    prompts = {tuple(targets[index].input_ids[: -SPACE.n_levels + 1].tolist()) for index in range(len(targets))}
    assert {tuple(prompt.tolist()) for prompt in groups.prompts} == prompts
    assert max(map(len, prompts)) == 1 + 4 * SPACE.n_levels  # no more history than is asked for
    first = policy.model.n_text
    policy.model.export(tmp_path, AutoTokenizer.from_pretrained(tiny_backbone))
    exported = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="sdpa")
    trie = Trie.build(CODES)
    found = BeamSearch(ExportedModel(exported, SPACE, first), trie).search(groups.prompts, BEAMS)
    written = CODES[trie.items[trie.item_start[found.leaves]]]
    np.testing.assert_array_equal(groups.tokens, sid_token_ids(first, SPACE, written))


def test_a_batch_without_any_next_item_moves_nothing(tiny_backbone: Path) -> None:
    policy = _policy(tiny_backbone)
    targets = _targets(policy.model.n_text)
    alone = (pack([targets[index]], pad_id=0) for index in range(len(targets)))
    missed = next(batch for batch in alone if not _rolled_out(policy, batch).hit.any())
    outputs = policy(**missed)
    outputs["loss"].backward()
    assert outputs["task_loss"].tolist() == [0, 0, 0]
    assert not _gradient(policy.model).any()


def test_the_reference_is_no_part_of_checkpoints(tiny_backbone: Path) -> None:
    assert not any("reference" in name for name in _policy(tiny_backbone).state_dict())


def test_in_bfloat16_the_gradient_points_the_same_way(tiny_backbone: Path) -> None:
    """Rollouts without gradients come before it, and must not leave weights cast without gradients behind."""
    gradients = []
    for precision in (None, torch.bfloat16):
        policy = _policy(tiny_backbone, autocast=precision)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision is not None):
            policy(**_batch(policy))["loss"].backward()
        assert all(p.grad is not None for p in policy.model.decoder.layers.parameters())
        gradients.append(_gradient(policy.model))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9


def test_the_policy_is_never_noisy(tiny_backbone: Path) -> None:
    policy = _policy(tiny_backbone, dropout=0.5, label_smoothing=0.5)
    policy.train()
    losses = [policy(**_batch(policy))["loss"].item() for _ in range(2)]
    assert losses[0] == losses[1] and not policy.model.training


def test_branches_hold_each_rollout_once() -> None:
    example = branch_rollouts(np.array([0, 7, 8]), np.array([[20, 30, 40], [20, 31, 41]]), number=3)
    assert example.input_ids.tolist() == [0, 7, 8, 20, 30, 8, 20, 31]
    assert example.labels.tolist() == [IGNORED, IGNORED, 20, 30, 40, 20, 31, 41]
    assert example.positions().tolist() == [0, 1, 2, 3, 4, 2, 3, 4]
    assert np.asarray(example.task)[2:].tolist() == [6, 6, 6, 7, 7, 7]


# A group: how many rollouts, and the place of the next item among them, or beyond them.
groups = st.integers(2, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size)))


def _is_true(size: int, place: int) -> np.ndarray:
    return np.arange(size)[None] == place


def test_a_small_group_by_hand() -> None:
    discounts = np.array([1, 1 / np.log2(3), 1 / 2])
    lost = discounts / discounts.sum()
    found = rewards(np.array([[False, True, False], [False, False, False]]))
    np.testing.assert_allclose(found, [[-lost[0], 1, -lost[2]], [0, 0, 0]])


@given(groups)
def test_a_group_adds_up_to_the_gain_of_the_next_items_rank(group: tuple[int, int]) -> None:
    size, place = group
    gains = 1 / np.log2(np.arange(size) + 2)
    wanted = gains[place] / gains.sum() if place < size else 0
    assert rewards(_is_true(size, place)).sum() == pytest.approx(wanted)


@given(groups)
def test_only_a_group_with_the_next_item_has_advantages_and_that_item_the_only_one_above_0(
    group: tuple[int, int],
) -> None:
    size, place = group
    found = advantages(rewards(_is_true(size, place)))[0]
    if place == size:
        assert not found.any()
        return
    assert found.mean() == pytest.approx(0, abs=1e-9)
    assert found.std() == pytest.approx(1)
    assert np.flatnonzero(found == found.max()).tolist() == [place]
    others = np.delete(found, place)
    assert (np.diff(others) > 0).all()  # the higher it stands, the more it loses
