"""Whatever the family: what is trained is what is exported and decoded, or the backbone is refused in words."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tests.decode.reference import enumerated
from tests.model_families import FAMILIES, save_model
from tsrec.backbone.loading import load_backbone
from tsrec.backbone.requirements import check_backbone
from tsrec.config import FinetuneConfig
from tsrec.decode.beam import BeamSearch
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel
from tsrec.errors import TrainingError
from tsrec.finetune.export import check_export
from tsrec.finetune.model import SidModel
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import add_sid_tokens
from tsrec.training.packing import IGNORED, Example, pack

SPACE = SidSpace((3, 4, 5))


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp(request.param), tiny_backbone, FAMILIES[request.param])


def _sid_model(folder: Path, method: str = "full") -> tuple[SidModel, int]:
    """A model to train and its number of text tokens."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    n_text = len(AutoTokenizer.from_pretrained(folder))
    torch.manual_seed(2)
    rows = torch.randn(SPACE.n_tokens, model.get_input_embeddings().weight.shape[1]) * 0.5
    config = FinetuneConfig(dropout=0.0, method=method)  # type: ignore[arg-type]
    return SidModel(model, rows, SPACE, n_text, n_tasks=1, config=config), n_text


def _examples(n_text: int) -> list[Example]:
    """Sequences of text and SID tokens, packed into rows of several."""
    random = np.random.default_rng(0)
    ids = [random.integers(0, n_text + SPACE.n_tokens, length) for length in (9, 20, 14, 31, 26)]
    return [Example(mine[:-1], np.where(random.random(len(mine) - 1) < 0.2, IGNORED, mine[1:]), 0) for mine in ids]


def _exported(model: SidModel, source: Path, target: Path) -> PreTrainedModel:
    tokenizer = AutoTokenizer.from_pretrained(source)
    add_sid_tokens(tokenizer, SPACE)
    model.export(target, tokenizer)
    return AutoModelForCausalLM.from_pretrained(target, attn_implementation="sdpa").eval()


def _plain_loss(model: PreTrainedModel, examples: list[Example], n_text: int) -> float:
    """The mean loss of a plain model: one sequence at a time, each label among the tokens of its kind."""
    kind = torch.cat(
        [torch.zeros(n_text)] + [torch.full((size,), level + 1.0) for level, size in enumerate(SPACE.sizes)]
    )
    losses = []
    for example in examples:
        with torch.no_grad():
            logits = model(torch.from_numpy(example.input_ids)[None]).logits[0]
        for position, label in enumerate(example.labels):
            if label != IGNORED:
                losses.append(
                    float(-logits[position].masked_fill(kind != kind[label], -torch.inf).log_softmax(0)[label])
                )
    return float(np.mean(losses))


def test_a_backbone_is_accepted_and_keeps_its_weights(folder: Path) -> None:
    model, tokenizer, _ = load_backbone(str(folder), None)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    check_backbone(model, tokenizer, str(folder))
    torch.testing.assert_close(dict(model.named_parameters()), before, rtol=0, atol=0)


def test_trained_loss_is_the_loss_of_the_exported_model(folder: Path, tmp_path: Path) -> None:
    model, n_text = _sid_model(folder)
    examples = _examples(n_text)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(**pack(examples, 0))["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        trained = float(model.eval()(**pack(examples, 0))["loss"])
    exported = _exported(model, folder, tmp_path)
    assert trained == pytest.approx(_plain_loss(exported, examples, n_text), abs=2e-5)


@pytest.mark.parametrize("method", ["full", "lora", "sid-rows"])
def test_the_check_at_export_passes(folder: Path, tmp_path: Path, method: str) -> None:
    model, n_text = _sid_model(folder, method)
    prompts = [torch.from_numpy(example.input_ids) for example in _examples(n_text)]
    logits = [model.logits(prompt) for prompt in prompts]
    _exported(model, folder, tmp_path)
    assert check_export(tmp_path, prompts, logits, SPACE) < 1e-5


def test_beams_score_as_the_exported_model(folder: Path, tmp_path: Path) -> None:
    model, n_text = _sid_model(folder)
    exported = _exported(model, folder, tmp_path)
    random = np.random.default_rng(1)
    codes = np.stack([random.integers(0, size, 20) for size in SPACE.sizes], axis=1)
    trie, prompts = Trie.build(codes), [example.input_ids for example in _examples(n_text)]
    beams = BeamSearch(ExportedModel(exported, SPACE, n_text), trie).search(prompts, n_beams=trie.n_leaves)
    for user, prompt in enumerate(prompts):
        sids, scores = enumerated(exported, prompt, codes, SPACE, n_text)
        np.testing.assert_allclose(beams.scores[user], scores, atol=1e-4)
        np.testing.assert_array_equal([codes[trie.items_of(int(leaf))[0]] for leaf in beams.leaves[user]], sids)


@pytest.mark.parametrize(("broken", "setting"), [("granite", "logits_scaling"), ("gemma3", "final_logit_softcapping")])
def test_an_export_that_computes_something_else_is_refused(
    broken: str, setting: str, tiny_backbone: Path, tmp_path: Path
) -> None:
    folder = save_model(tmp_path / "backbone", tiny_backbone, FAMILIES[broken])
    model, n_text = _sid_model(folder)
    prompts = [torch.from_numpy(example.input_ids) for example in _examples(n_text)]
    logits = [model.logits(prompt) for prompt in prompts]
    setattr(model._shell[0].config, setting, 2.0)
    _exported(model, folder, tmp_path / "export")
    with pytest.raises(
        TrainingError, match=r"the exported \w+ computes other logits .* choose another backbone\.model"
    ):
        check_export(tmp_path / "export", prompts, logits, SPACE)
    with pytest.raises(TrainingError, match=r"no numbers; lower rl\.learning_rate"):
        check_export(tmp_path / "export", prompts, [each * torch.nan for each in logits], SPACE, "rl")
