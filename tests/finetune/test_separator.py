"""A separator after every item: a row of its own is trained, RL and refreshes keep it, and decoding asks with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.finetune.stage_run import N_ITEMS, SPACE, TASKS, config, parents, rl_settings, run, run_rl
from tests.keys import key_of
from tsrec.config import ContinueConfig, ContinuedFinetune, DecodeConfig
from tsrec.finetune import STAGE
from tsrec.recommenders.llm import Llm, load_llm
from tsrec.recommenders.member import Catalogue
from tsrec.recommenders.ranking import Filter
from tsrec.sid.tokens import SEPARATOR
from tsrec.store import Artifact, ArtifactStore, base_role


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def shop(store: ArtifactStore, tiny_backbone: Path) -> dict[str, Artifact]:
    return parents(store, tiny_backbone)


@pytest.fixture(scope="module")
def trained(store: ArtifactStore, shop: dict[str, Artifact], tiny_backbone: Path) -> Artifact:
    settings = config(tasks=TASKS | {"title_to_sid": 0}, item_separator=True, epochs=4, learning_rate=5e-3)
    return run(Path(store.root), tiny_backbone, settings)


def _rows(artifact: Artifact, n_text: int) -> np.ndarray:
    embedding: Any = AutoModelForCausalLM.from_pretrained(artifact.file("model")).get_input_embeddings()
    rows: np.ndarray = embedding.weight.detach().numpy()[n_text:]
    return rows


def _first_row(shop: dict[str, Artifact]) -> np.ndarray:
    """(D,) what the backbone has for `;`, as long as SID rows are on average."""
    folder = shop["backbone"].file("model")
    text: Any = AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings()
    ids = AutoTokenizer.from_pretrained(folder).encode(";", add_special_tokens=False)
    written = text.weight.detach().numpy()[ids].mean(axis=0)
    before = shop["sa_init"].matrix("token_embeddings", "embedding")
    row: np.ndarray = written / np.linalg.norm(written) * np.linalg.norm(before, axis=1).mean()
    return row


@pytest.fixture(scope="module")
def n_text(tiny_backbone: Path) -> int:
    return len(AutoTokenizer.from_pretrained(tiny_backbone))


def _loaded(trained: Artifact, shop: dict[str, Artifact]) -> Llm:
    ids = np.array([f"i{item:02}" for item in range(N_ITEMS)], dtype=object)
    catalogue = Catalogue.counted(ids, np.arange(N_ITEMS), np.zeros(N_ITEMS, int))
    return load_llm(trained, shop["sids"], catalogue, DecodeConfig(beams=6, device="cpu", precision="float32"))


def test_its_row_is_trained_and_exported_behind_the_sid_tokens(
    trained: Artifact, shop: dict[str, Artifact], n_text: int
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained.file("model"))
    assert tokenizer.convert_tokens_to_ids(SEPARATOR) == n_text + SPACE.n_tokens == len(tokenizer) - 1
    rows = _rows(trained, n_text)
    assert rows.shape == (SPACE.n_tokens + 1, 32)
    first = _first_row(shop)
    moved = np.linalg.norm(rows[-1] - first)
    assert 0.01 < moved < np.linalg.norm(rows[-1]) + np.linalg.norm(first)


def test_lists_are_those_of_plain_sequences_with_it(trained: Artifact, shop: dict[str, Artifact], n_text: int) -> None:
    """The best item's score is what a plain pass gives over the opening token, and every item with a separator."""
    llm = _loaded(trained, shop)
    past = np.array([3, 17, 8])
    ranked = llm.rank([past], 6, Filter(N_ITEMS))
    model = AutoModelForCausalLM.from_pretrained(trained.file("model"))
    best = llm.tokens.sids[int(ranked.items[0, 0])]
    ids = [0]
    for item in past:
        ids += [*llm.tokens.sids[item].tolist(), n_text + SPACE.n_tokens]
    with torch.inference_mode():
        logits = model(torch.tensor([[*ids, *best[:-1].tolist()]])).logits[0, len(ids) - 1 :]
    score = 0.0
    for level, (offset, size) in enumerate(zip(SPACE.offsets, SPACE.sizes, strict=True)):
        chances = logits[level, n_text + offset : n_text + offset + size].log_softmax(0)
        score += float(chances[int(best[level]) - n_text - offset])
    assert ranked.scores[0, 0] == pytest.approx(score, abs=1e-4)


def test_rl_goes_on_with_it(trained: Artifact, shop: dict[str, Artifact], tmp_path: Path, n_text: int) -> None:
    before = {"ingest": shop["ingest"], "sids": shop["sids"], "finetune": trained}
    learned = run_rl(tmp_path, before, rl_settings(epochs=1))
    assert _rows(learned, n_text).shape == (SPACE.n_tokens + 1, 32)
    assert (_rows(learned, n_text)[-1] != _rows(trained, n_text)[-1]).any()
    assert _loaded(learned, shop).tokens.separator == n_text + SPACE.n_tokens


@pytest.mark.parametrize("base_has_it", [True, False])
def test_a_training_that_goes_on_takes_it_from_its_base(
    base_has_it: bool, trained: Artifact, shop: dict[str, Artifact], tiny_backbone: Path, tmp_path: Path, n_text: int
) -> None:
    """Where the base has none, it starts as in a first training, and the SID tokens go on all the same."""
    settings = config(tasks={"history": 1}, item_separator=True)
    base = trained if base_has_it else run(tmp_path, tiny_backbone, config(tasks={"history": 1}))
    known = {base_role(name): shop[name] for name in ("ingest", "sa_init")}
    go_on = ContinuedFinetune(whole=settings, go_on=ContinueConfig(learning_rate=1e-9, epochs=0.1, replay=1))
    store = ArtifactStore(str(tmp_path / "next"))
    made = store.build(
        key_of("finetune", "1" * 16), lambda out: STAGE.run(go_on, shop | known | {base_role("finetune"): base}, out)
    )
    old, new = _rows(base, n_text), _rows(made, n_text)
    np.testing.assert_allclose(new[: len(old)], old, atol=1e-5)
    assert len(new) == SPACE.n_tokens + 1 and np.linalg.norm(new[-1]) > 0.1
    if not base_has_it:
        np.testing.assert_allclose(new[-1], _first_row(shop), atol=1e-5)
