"""The model: its loss against a plain slow one, what each method trains, and what is exported."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from tests.training.training_run import counted_reads
from tsrec.config import FinetuneConfig
from tsrec.finetune import model as model_module
from tsrec.finetune.model import SidModel
from tsrec.sid.space import SidSpace
from tsrec.training import attention, product_shapes
from tsrec.training.packing import IGNORED, Example, pack

SPACE = SidSpace((4, 6, 5))
N_SURPLUS = 3  # embedding rows beyond the tokenizer, as Qwen has


def _language_model(backbone: Path, tied: bool) -> PreTrainedModel:
    if tied:
        return AutoModelForCausalLM.from_pretrained(backbone, dtype=torch.float32, attn_implementation="sdpa")
    config = LlamaConfig.from_pretrained(backbone)
    config.tie_word_embeddings = False
    config.vocab_size += N_SURPLUS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return LlamaForCausalLM._from_config(config, attn_implementation="sdpa")


def _n_text(backbone: Path) -> int:
    return len(AutoTokenizer.from_pretrained(backbone))


def _model(backbone: Path, tied: bool = True, **settings: object) -> SidModel:
    config = FinetuneConfig(**{"dropout": 0.0, **settings})
    torch.manual_seed(2)
    rows = torch.randn(SPACE.n_tokens, 32) * 0.5
    return SidModel(_language_model(backbone, tied), rows, SPACE, _n_text(backbone), n_tasks=2, config=config)


def _batch(n_text: int) -> tuple[list[Example], dict[str, torch.Tensor]]:
    random = np.random.default_rng(0)
    examples = []
    for index in range(6):
        ids = random.integers(0, n_text + SPACE.n_tokens, 10 + index)
        labels = np.append(ids[1:], random.integers(0, n_text))
        labels[random.random(len(ids)) < 0.3] = IGNORED
        examples.append(Example(ids, labels, task=index % 2))
    return examples, pack(examples, pad_id=0)


def _slow_losses(model: SidModel, tied: bool, examples: list[Example]) -> list[list[float]]:
    """Per example, the losses at its labels: one sequence at a time, all logits, then masked by level."""
    text_in = model.decoder.get_input_embeddings().weight
    text_out = text_in if tied else model.text_head.weight
    rows_in, rows_out = torch.cat([text_in, model.sid_rows]), torch.cat([text_out, model.sid_rows])
    group = torch.cat([torch.zeros(model.n_text)] + [torch.full((s,), i + 1.0) for i, s in enumerate(SPACE.sizes)])
    losses = []
    for example in examples:
        embedded = functional.embedding(torch.from_numpy(example.input_ids), rows_in)[None]
        logits = model.decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state[0] @ rows_out.T
        mine = []
        for position, label in enumerate(example.labels):
            if label != IGNORED:
                masked = logits[position].masked_fill(group != group[label], -torch.inf)
                mine.append(float(-masked.log_softmax(dim=0)[label]))
        losses.append(mine)
    return losses


@pytest.mark.parametrize("tied", [True, False])
def test_loss_equals_a_plain_slow_reference(tiny_backbone: Path, tied: bool) -> None:
    model = _model(tiny_backbone, tied).eval()
    examples, batch = _batch(model.n_text)
    with torch.no_grad():
        outputs = model(**batch)
        slow = _slow_losses(model, tied, examples)
    every = [loss for losses in slow for loss in losses]
    assert float(outputs["loss"]) == pytest.approx(np.mean(every), abs=1e-5)
    for task in (0, 1):
        mine = [loss for example, losses in zip(examples, slow, strict=True) if example.task == task for loss in losses]
        assert float(outputs["task_loss"][task]) == pytest.approx(sum(mine), abs=1e-3)
        assert float(outputs["task_count"][task]) == len(mine)


def test_the_loss_on_branches_equals_that_of_plain_sequences(tiny_backbone: Path) -> None:
    model = _model(tiny_backbone).eval()
    random = np.random.default_rng(3)
    first = model.n_text
    trunk, branch = random.integers(0, first, 9), np.array([first + 1, first + 5])
    labels = np.append(trunk[1:], IGNORED)
    labels[4] = branch[0]  # what comes after position 4 is the branch's first token, or the trunk's next
    goes_on = np.array([first + 5, first + 11])
    example = Example(
        np.concatenate([trunk, branch]),
        np.concatenate([labels, goes_on]),
        task=np.array([0] * 4 + [1] + [0] * 4 + [1, 1]),
        forks=np.array([0] * 9 + [5, 5]),
    )
    alone = [
        Example(trunk, labels, task=0),
        Example(np.concatenate([trunk[:5], branch]), np.array([IGNORED] * 5 + goes_on.tolist()), task=0),
    ]
    with torch.no_grad():
        outputs = model(**pack([example, *_batch(first)[0][:1]], pad_id=0))
        on_trunk, on_branch = _slow_losses(model, True, alone)
        others = _slow_losses(model, True, _batch(first)[0][:1])[0]
    assert float(outputs["loss"]) == pytest.approx(np.mean([*on_trunk, *on_branch, *others]), abs=1e-5)
    assert float(outputs["task_loss"][1]) == pytest.approx(on_trunk[4] + sum(on_branch), abs=1e-4)
    assert float(outputs["task_count"][1]) == 3


def test_sid_labels_are_smoothed_within_their_level_in_training_alone(tiny_backbone: Path) -> None:
    model = _model(tiny_backbone, label_smoothing=0.3)
    _, batch = _batch(model.n_text)
    labels = batch["labels"]
    is_sid = labels >= model.n_text
    only_sids = {**batch, "labels": torch.where(is_sid, labels, IGNORED)}
    with torch.no_grad():
        smoothed, hard = model(**only_sids)["loss"], model.eval()(**only_sids)["loss"]
        every = []  # the loss of each label's level, were each of its tokens the right one in turn
        for offset, size in zip(SPACE.offsets, SPACE.sizes, strict=True):
            first = model.n_text + offset
            mine = (labels >= first) & (labels < first + size)
            for label in range(first, first + size) if mine.any() else []:
                loss = model(**{**batch, "labels": torch.where(mine, label, IGNORED)})["loss"]
                every.append(loss * mine.sum() / size)
    spread = sum(every) / is_sid.sum()
    assert float(smoothed) == pytest.approx(float(0.7 * hard + 0.3 * spread), abs=1e-5)
    text = {**batch, "labels": torch.where(is_sid, IGNORED, labels)}
    with torch.no_grad():
        assert float(model.train()(**text)["loss"]) == pytest.approx(float(model.eval()(**text)["loss"]), abs=1e-6)


def test_text_losses_in_parts_give_the_same_loss_and_gradient(
    tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for at_once in (512, 4):
        monkeypatch.setattr(model_module, "_TEXT_LABELS_AT_ONCE", at_once)
        model = _model(tiny_backbone, train_text_rows=True)
        loss = model(**_batch(model.n_text)[1])["loss"]
        loss.backward()
        found.append((loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1])


def test_rounded_shapes_give_the_same_loss_and_gradient(tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for multiple in (1, 8):
        for module in (product_shapes, attention):
            monkeypatch.setattr(module, "rows_of_product", lambda n, multiple=multiple: -(-n // multiple) * multiple)
        model = _model(tiny_backbone)
        loss = model(**_batch(model.n_text)[1])["loss"]
        loss.backward()
        found.append((loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1])


def _trained_step(model: SidModel) -> set[str]:
    """Names of the parameters that one optimizer step changes."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(2):  # LoRA's first factor has no gradient while the second is 0
        optimizer.zero_grad()
        model(**_batch(model.n_text)[1])["loss"].backward()
        optimizer.step()
    return {name for name, parameter in model.named_parameters() if not torch.equal(before[name], parameter)}


def test_full_trains_all_but_the_text_rows(tiny_backbone: Path) -> None:
    model = _model(tiny_backbone)
    assert _trained_step(model) == {n for n, _ in model.named_parameters() if n != "decoder.embed_tokens.weight"}


def test_text_rows_are_trained_when_asked(tiny_backbone: Path) -> None:
    model = _model(tiny_backbone, tied=False, train_text_rows=True)
    assert {"decoder.embed_tokens.weight", "text_head.weight", "sid_rows"} <= _trained_step(model)


def test_sid_rows_leaves_the_language_model_unchanged(tiny_backbone: Path) -> None:
    assert _trained_step(_model(tiny_backbone, method="sid-rows")) == {"sid_rows"}


def test_lora_trains_adapters_and_sid_rows_only(tiny_backbone: Path) -> None:
    changed = _trained_step(_model(tiny_backbone, method="lora"))
    assert "sid_rows" in changed
    assert all("lora_" in name for name in changed - {"sid_rows"})
    assert any("lora_B" in name for name in changed)


@pytest.mark.parametrize(
    ("tied", "method"), [(True, "full"), (False, "full"), (True, "lora"), (False, "lora"), (True, "sid-rows")]
)
def test_export_is_a_plain_model_with_the_same_logits(
    tiny_backbone: Path, tmp_path: Path, tied: bool, method: str
) -> None:
    model = _model(tiny_backbone, tied, method=method)
    _trained_step(model)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    tokenizer.add_tokens(SPACE.tokens(), special_tokens=True)
    ids = torch.tensor([[0, 5, model.n_text, model.n_text + 7, 9, model.n_text + 14]])
    with torch.no_grad():
        hidden = model.decoder(inputs_embeds=model.embed(ids), use_cache=False).last_hidden_state
        sid_logits = hidden @ model.sid_rows.T
    model.export(tmp_path, tokenizer)
    exported = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(exported) is LlamaForCausalLM
    assert exported.dtype == torch.float32
    assert exported.config.tie_word_embeddings is tied
    with torch.no_grad():
        logits = exported(ids).logits
    assert logits.shape[-1] == model.n_text + SPACE.n_tokens
    torch.testing.assert_close(logits[..., model.n_text :], sid_logits, atol=1e-5, rtol=1e-4)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    assert reloaded.convert_tokens_to_ids(SPACE.tokens()) == list(range(model.n_text, model.n_text + SPACE.n_tokens))
    assert not list(tmp_path.glob("*.bin"))


def test_a_step_reads_no_tensor(tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(tiny_backbone)
    _, batch = _batch(model.n_text)
    reads = counted_reads(monkeypatch)
    model(**batch)["loss"].backward()
    assert reads == []
    assert bool(model.sid_rows.grad.any()) and reads == ["__bool__"]
