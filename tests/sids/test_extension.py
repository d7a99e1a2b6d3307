"""A refresh by whatever quantizer made the base: known items stay, new ones get SIDs by the same, frozen quantizer."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.keys import key_of
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import SidsConfig
from tsrec.sids import STAGE
from tsrec.sids.quantizer_registry import QUANTIZERS, Quantizer, open_quantizer
from tsrec.sids.rq_vae import Recipe, load, rq_vae
from tsrec.store import Artifact, ArtifactStore

N_OLD, N_NEW = 100, 20


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """RQ-VAE as the stage trains it, in fewer and smaller steps."""
    recipe = Recipe(hidden=(32,), latent=8, steps=60, batch_size=64)
    monkeypatch.setitem(QUANTIZERS, "rq-vae", Quantizer(partial(rq_vae, recipe=recipe), load))


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    """(120, 12) float32 in 10 groups; the last 20 are much like the first 20."""
    generator = np.random.default_rng(1)
    vectors = np.tile(generator.normal(size=(10, 12)) * 3, (12, 1)) + generator.normal(size=(N_OLD + N_NEW, 12))
    vectors[N_OLD:] = vectors[:N_NEW] + 0.01
    return vectors.astype(np.float32)


def _parents(store: ArtifactStore, embeddings: np.ndarray, order: np.ndarray) -> dict[str, Artifact]:
    """Items in `order`, and users who stay within a group."""
    item_ids, mark = [f"i{item:03d}" for item in order], f"{len(order)}"
    random = np.random.default_rng(3)
    events = [
        (f"u{user:02d}", f"i{10 * random.integers(0, 10) + user % 10:03d}", place, Split.TRAIN.value)
        for user in range(60)
        for place in range(5)
    ]
    interactions = pd.DataFrame(events, columns=[C.USER, C.ITEM, C.POSITION, C.SPLIT])
    interactions = interactions[interactions[C.ITEM].isin(item_ids)].assign(**{C.TIMESTAMP: 0})
    vectors = pa.array(list(embeddings[order]), type=pa.list_(pa.float32()))

    def ingest(out) -> None:  # type: ignore[no-untyped-def]
        out.write_table("items", pa.table({C.ITEM: item_ids}))
        out.write_table("interactions", interactions)

    embed = pa.table({C.ITEM: item_ids, C.EMBEDDING: vectors})
    return {
        "ingest": store.build(key_of("ingest", mark), ingest),
        "embed": store.build(key_of("embed", mark), lambda out: out.write_table("item_embeddings", embed)),
    }


@pytest.mark.parametrize("cooccurrence", [0, 0.7])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_refresh_assigns_by_the_frozen_quantizer(
    tmp_path: Path, embeddings: np.ndarray, quantizer: str, cooccurrence: float
) -> None:
    store = ArtifactStore(tmp_path)
    config = SidsConfig.model_validate(
        {"quantizer": quantizer, "codes_per_level": (8, 8, 32), "cooccurrence": cooccurrence}
    )

    def build(mark: str, parents: dict[str, Artifact]) -> Artifact:
        return store.build(key_of("sids", mark), lambda out: STAGE.run(config, parents, out))

    base = build("base", _parents(store, embeddings, np.arange(N_OLD)))
    order = np.random.default_rng(4).permutation(N_OLD + N_NEW)
    parents = _parents(store, embeddings, order)
    refreshed = build("refreshed", {**parents, "sids:base": base})
    again = build("again", {**parents, "sids:base": refreshed})

    for made in (refreshed, again):
        assert made.table("codebooks").equals(base.table("codebooks"))
        assert made.manifest.files.get("transform.safetensors") == base.manifest.files.get("transform.safetensors")
        codes = dict(zip(made.table("item_sids")[C.ITEM].to_pylist(), made.matrix("item_sids", C.CODES), strict=True))
        assert len({tuple(sid) for sid in codes.values()}) == N_OLD + N_NEW
        for item, sid in zip((f"i{item:03d}" for item in range(N_OLD)), base.matrix("item_sids", C.CODES), strict=True):
            np.testing.assert_array_equal(codes[item], sid)
    assert (refreshed.counts["n_items_known"], refreshed.counts["n_items_new"]) == (N_OLD, N_NEW)
    assert again.counts["n_items_new"] == 0
    assert again.table("item_sids") == refreshed.table("item_sids")
    _check_vectors_are_those_of_the_base(base, refreshed, config, embeddings, order)
    if not cooccurrence:
        # New items that are much like known ones begin alike.
        first = np.empty(N_OLD + N_NEW, dtype=np.int64)
        first[order] = refreshed.matrix("item_sids", C.CODES)[:, 0]
        assert (first[N_OLD:] == first[:N_NEW]).mean() > 0.9


@pytest.mark.parametrize("cooccurrence", [0, 0.7])
def test_an_item_that_comes_back_has_its_sid_again_and_nobody_had_it_meanwhile(
    tmp_path: Path, embeddings: np.ndarray, cooccurrence: float
) -> None:
    store, config = ArtifactStore(tmp_path), SidsConfig(codes_per_level=(8, 8, 32), cooccurrence=cooccurrence)
    weeks = {
        "all": np.arange(N_OLD),
        "some": np.arange(N_NEW + 1, N_OLD + N_NEW),  # the others are gone, and what is much like them has come
        "later": np.arange(N_NEW + 1, N_OLD + N_NEW - 1),
        "back": np.arange(N_OLD + N_NEW),
    }
    sids: dict[str, set[tuple[int, ...]]] = {}
    base: dict[str, Artifact] = {}
    for mark, order in weeks.items():
        parents = _parents(store, embeddings, order) | base
        made = store.build(key_of("sids", mark), partial(STAGE.run, config, parents))
        base = {"sids:base": made}
        now = zip(made.table("item_sids")[C.ITEM].to_pylist(), made.matrix("item_sids", C.CODES).tolist(), strict=True)
        for item, sid in now:
            sids.setdefault(item, set()).add(tuple(sid))
    assert len(sids) == N_OLD + N_NEW and all(len(mine) == 1 for mine in sids.values())
    assert len(set.union(*sids.values())) == len(sids)
    assert made.counts["n_items_gone"] == made.counts["n_items_new"] == 0 and not made.has("gone_sids")


def _check_vectors_are_those_of_the_base(
    base: Artifact, refreshed: Artifact, config: SidsConfig, embeddings: np.ndarray, order: np.ndarray
) -> None:
    """Known items are quantized as they were, before collisions are settled; new ones by their texts alone."""
    vectors = {made: embeddings[rows] for made, rows in (("base", np.arange(N_OLD)), ("refreshed", order))}
    if config.cooccurrence:
        factors = {"base": base.matrix("item_factors", C.EMBEDDING)}
        factors["refreshed"] = refreshed.matrix("item_factors", C.EMBEDDING)
        assert not factors["refreshed"][order >= N_OLD].any()
        assert refreshed.counts["n_without_cooccurrence"] == N_NEW + base.counts["n_without_cooccurrence"]
        vectors = {made: np.hstack([vectors[made], factors[made]]) for made in vectors}
    frozen = open_quantizer(base, config)
    before, now = (frozen.quantize(vectors[made])[0] for made in ("base", "refreshed"))
    np.testing.assert_array_equal(now[np.argsort(order)][:N_OLD], before)
    assert refreshed.counts["quantization_error_known"] == pytest.approx(base.counts["reconstruction_error"], rel=1e-3)


@pytest.mark.parametrize("n_items", [2, 3, 5, 8, 13, 21])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_small_catalogues_get_unique_sids_from_every_quantizer(tmp_path: Path, quantizer: str, n_items: int) -> None:
    store = ArtifactStore(tmp_path)
    vectors = np.random.default_rng(n_items).normal(size=(n_items, 16)).astype(np.float32)
    vectors[1::2] = vectors[: len(vectors[1::2]) * 2 : 2]  # in pairs, with the very same text
    vectors[0] += 1
    config = SidsConfig.model_validate({"quantizer": quantizer})
    parents = _parents(store, vectors, np.arange(n_items))
    made = store.build(key_of("sids"), lambda out: STAGE.run(config, parents, out))
    assert len(np.unique(made.matrix("item_sids", C.CODES), axis=0)) == n_items
