"""The LLM as a member: what it is asked at once does not change what it answers."""

import numpy as np

from tests.decode.reference import N_TEXT, random_model
from tsrec.config import Config
from tsrec.decode.scoring import score_sids
from tsrec.recommenders.catalogue import Catalogue, read_catalogue
from tsrec.recommenders.llm import Llm, load_llm
from tsrec.recommenders.ranking import Filter
from tsrec.recommenders.stage_settings import BeamSettings
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import HistoryTokens, sid_token_ids
from tsrec.store import Artifact

SPACE = SidSpace((4, 5, 6))
N_ITEMS = 60


def tiny_llm(**settings: object) -> Llm:
    random = np.random.default_rng(0)
    codes = np.stack([random.integers(0, size, N_ITEMS) for size in SPACE.sizes], axis=1)
    ids = np.array([f"i{item}" for item in range(N_ITEMS)], dtype=object)
    catalogue = Catalogue.from_events(ids, random.integers(0, N_ITEMS, 4 * N_ITEMS), np.zeros(4 * N_ITEMS, int))
    model = random_model(SPACE, 0)
    model.set_attn_implementation("sdpa")
    config = BeamSettings.model_validate(
        {"beams": 8, "max_history": 6, "device": "cpu", "precision": "auto", **settings}
    )
    tokens = HistoryTokens(0, sid_token_ids(N_TEXT, SPACE, codes))
    return Llm(model, SPACE, codes, catalogue, first_sid_id=N_TEXT, tokens=tokens, config=config)


def test_histories_of_all_lengths_in_batches_are_ranked_as_one_by_one() -> None:
    random = np.random.default_rng(1)
    pasts = [random.integers(0, N_ITEMS, length) for length in (5, 0, 9, 1, 30, 2, 0, 7, 3, 12, 4)]
    llm = tiny_llm(batch_tokens=80, precision="float32")
    together = llm.rank(pasts, 8, Filter(N_ITEMS, pasts))
    for row, past in enumerate(pasts):
        assert (together.items[row] >= 0).all() == bool(len(past))  # nothing for an empty history
        alone = llm.rank([past], 8, Filter(N_ITEMS, [past]))
        np.testing.assert_array_equal(together.items[row], alone.items[0])
        np.testing.assert_allclose(together.scores[row], alone.scores[0], atol=1e-5)


def test_an_item_has_the_score_by_which_it_is_ranked() -> None:
    random = np.random.default_rng(2)
    pasts = [random.integers(0, N_ITEMS, length) for length in (5, 0, 9, 30)]
    llm = tiny_llm(precision="float32")
    ranked = llm.rank(pasts, 8, Filter(N_ITEMS))
    candidates = [items[items >= 0][::-1] for items in ranked.items]
    candidates[1] = np.array([3, 4])  # nothing is known of an empty history
    scores = llm.score(pasts, candidates)
    for row in (0, 2, 3):
        np.testing.assert_allclose(scores[row], ranked.scores[row][::-1], atol=1e-5)
    assert np.isneginf(scores[1]).all()


def test_cold_items_are_scored_by_what_begins_trained_sids() -> None:
    """By plain loops over all items."""
    llm, random = tiny_llm(precision="float32"), np.random.default_rng(4)
    llm.is_trained = random.random(N_ITEMS) < 0.2
    pasts, everything = [np.array([3, 8]), np.array([5])], np.arange(N_ITEMS)
    scores = llm.score_by_beginnings(pasts, [everything, everything[::-1]])
    n_by_length = np.zeros(5, dtype=int)
    for past, own in zip(pasts, (scores[0], scores[1][::-1]), strict=True):
        tokens = score_sids(llm._writer, [llm.tokens.prompt(past)], [llm.codes], 10_000)[0]
        for item in everything:
            sid, length = llm.codes[item], SPACE.n_levels
            while not any(
                (llm.codes[other][:length] == sid[:length]).all() for other in np.flatnonzero(llm.is_trained)
            ):
                length -= 1
            alike = sum(bool((other[:length] == sid[:length]).all()) for other in llm.codes)
            shared = np.log(alike) if length < SPACE.n_levels else 0.0
            np.testing.assert_allclose(own[item], tokens[item, :length].sum() - shared, atol=1e-4)
            n_by_length[length] += 1
    assert (n_by_length[[0, 1, 2, 3]] > 0).all()


def test_a_history_that_leaves_fewer_items_than_beams_has_a_shorter_list_beside_others() -> None:
    """Batches then differ in how many beams they finish."""
    pasts = [np.arange(N_ITEMS - 2), np.array([3]), np.array([4])]
    ranked = tiny_llm(batch_tokens=1).rank(pasts, 8, Filter(N_ITEMS, pasts))
    assert set(ranked.items[0][ranked.items[0] >= 0]) == {N_ITEMS - 2, N_ITEMS - 1}
    assert (ranked.items[1:] >= 0).all()


def test_the_model_is_loaded_in_the_numbers_of_the_precision(config: Config, artifacts: dict[str, Artifact]) -> None:
    catalogue, _ = read_catalogue(artifacts["ingest"])
    settings = BeamSettings.from_run_config(config)
    ranked = {}
    for precision in ("float32", "bfloat16"):
        own = settings.model_copy(update={"precision": precision})
        llm = load_llm(artifacts["finetune"], artifacts["sids"], catalogue, own)
        assert str(llm.model.dtype) == f"torch.{precision}"
        ranked[precision] = llm.rank([np.arange(5)], 8, Filter(catalogue.n_items))
    exact, rough = ranked["float32"].scores, ranked["bfloat16"].scores
    assert not np.array_equal(exact, rough)
    np.testing.assert_allclose(exact, rough, atol=0.1)
