"""What every recommender promises: the same lists from artifacts alone, exactly K, what may be shown."""

import contextlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tsrec import pipeline
from tsrec.config import Config, with_overrides
from tsrec.errors import ArtifactError, DataError
from tsrec.recommenders.explain import Explainer
from tsrec.recommenders.recommender import Recommender
from tsrec.store import Artifact

METHODS = ("fused", "tsrec", "popular", "transitions", "item-knn", "text-similarity", "sasrec")
N_ITEMS = 48  # of the shop


@pytest.fixture(scope="module", params=METHODS)
def opened(request: pytest.FixtureRequest, artifacts: dict[str, Artifact], config: Config) -> Recommender:
    assert artifacts["fuse"]
    return Recommender.open(config.store, "shop", request.param)


def test_the_lists_are_those_that_the_run_made(opened: Recommender, artifacts: dict[str, Artifact]) -> None:
    stage = {"fused": "fuse", "tsrec": "decode"}.get(opened.name, "candidates")
    table = artifacts[stage].frame(opened.name)
    table = table[table["split"] == "test"].reset_index(drop=True)
    interactions = artifacts["ingest"].frame("interactions")
    pasts = [
        interactions[(interactions["user_id"] == row.user_id) & (interactions["position"] < row.position)]["item_id"]
        for row in table.itertuples(index=False)
    ]
    found = opened.recommend([past.tolist() for past in pasts], k=10)
    for row, made in enumerate(table.itertuples(index=False)):
        expected = opened.catalogue.item_ids[made.items[:10]].tolist()
        close = np.isclose(np.diff(np.nan_to_num(made.scores[:11], neginf=0)), 0, atol=1e-5)
        if not close.any():  # other batches may settle a tie in the last bits otherwise
            assert [item.item_id for item in found[row]] == expected
        else:
            assert len(set(expected) ^ {item.item_id for item in found[row]}) <= 2 * close.sum()


@pytest.mark.parametrize("k", [1, 7, N_ITEMS, 500])
def test_exactly_k_distinct_items_or_all(opened: Recommender, k: int) -> None:
    for found in opened.recommend([["i1", "i7", "i1"], [], ["i40"], ["no such item"], [f"i{n}" for n in range(48)]], k):
        assert len(found) == len({item.item_id for item in found}) == min(k, N_ITEMS)
        proposed = [item.score is not None for item in found]
        assert proposed == sorted(proposed, reverse=True)  # popularity only fills the end
        assert all(bool(item.proposed_by) == there for item, there in zip(found, proposed, strict=True))
        scores = [item.score for item in found if item.score is not None]
        assert scores == sorted(scores, reverse=True)


def test_only_allowed_items(opened: Recommender) -> None:
    allowed = ["i3", "i9", "i40", "i41", "not in the catalogue"]
    for found in opened.recommend([["i3", "i9"], []], k=10, allowed=allowed):
        assert {item.item_id for item in found} == {"i3", "i9", "i40", "i41"}
    assert opened.recommend([["i3"]], k=10, allowed=[]) == [[]]


def test_forbidden_repeats_never_appear(opened: Recommender) -> None:
    strict = Recommender(opened.name, opened.member, opened.catalogue, "forbidden")
    past = ["i0", "i6", "i12", "i18"]
    for found in strict.recommend([past, past], k=N_ITEMS):
        assert len(found) == N_ITEMS - 4
        assert not {item.item_id for item in found} & set(past)
    (found,) = strict.recommend([past], k=10, allowed=[*past, "i24"])
    assert [item.item_id for item in found] == ["i24"]


def test_an_empty_request_gives_an_empty_answer(opened: Recommender) -> None:
    assert opened.recommend([], k=10) == []


def test_a_history_that_is_a_text_is_refused(opened: Recommender) -> None:
    with pytest.raises(DataError, match=r"histories\[1\] is the text 'i1'; a history is a list of item ids"):
        opened.recommend([["i1"], "i1"])


def test_unknown_items_tell_nothing(opened: Recommender) -> None:
    known, mixed = opened.recommend([["i1", "i7"], ["i1", "nothing", "i7"]], k=10)
    assert [item.item_id for item in known] == [item.item_id for item in mixed]
    assert opened.unknown(["i1", "nothing"]) == ["nothing"]


def test_without_a_known_item_the_list_is_what_is_popular(opened: Recommender) -> None:
    catalogue = opened.catalogue
    wanted = catalogue.item_ids[np.argsort(-catalogue.train_counts, kind="stable")[:10]].tolist()
    beside = [["i1", "i7"], [], ["nothing", "nobody"]]
    known, *unknown = opened.recommend(beside, k=10)
    assert [item.item_id for item in known] != wanted or opened.name == "popular"
    for found in unknown:
        assert [item.item_id for item in found] == wanted
        by = ("popular",) if opened.name == "popular" else ()  # popularity filled the list: no member was asked
        assert {item.proposed_by for item in found} == {by}
    (few,) = opened.recommend([[]], k=10, allowed=["i3", "i9", wanted[0]])
    assert few[0].item_id == wanted[0] and {item.item_id for item in few} == {"i3", "i9", wanted[0]}


def test_the_fusion_names_who_proposed_an_item(artifacts: dict[str, Artifact], config: Config) -> None:
    fused = Recommender.open(config.store, "shop")
    (found,) = fused.recommend([["i1", "i7", "i13"]], k=10)
    assert all(item.proposed_by and set(item.proposed_by) <= set(METHODS) for item in found)
    assert any(len(item.proposed_by) > 1 for item in found)


def test_items_are_explained_from_artifacts(artifacts: dict[str, Artifact], config: Config) -> None:
    lineage, fuse = pipeline.find_finished(config)
    explainer = Explainer(lineage, fuse)
    about = explainer.describe("i1")
    assert about["title"] == "glue stick model a heavy duty"
    assert [token[:3] for token in about["tokens"]] == ["<a_", "<b_", "<c_"]
    events = artifacts["ingest"].frame("interactions").sort_values("position")
    for user in events["user_id"].unique()[:5]:
        assert explainer.history_of(user) == events.loc[events["user_id"] == user, "item_id"].tolist()
    with pytest.raises(DataError, match="no user 'nobody' has any interaction"):
        explainer.history_of("nobody")


def test_what_was_never_built_is_said(artifacts: dict[str, Artifact], config: Config) -> None:
    with pytest.raises(ArtifactError, match="no finished recommender of 'books'"):
        Recommender.open(config.store, "books")
    with pytest.raises(ArtifactError, match=r"no method 'bpr'; there are fused, tsrec, item-knn, popular"):
        Recommender.open(config.store, "shop", "bpr")
    with pytest.raises(ArtifactError, match="no finished recommender"):
        pipeline.find_finished(with_overrides(config, ["sids.seed=9"]))


_FORK = """
import os, sys, tsrec, torch
torch.set_num_threads(2)
recommender = tsrec.Recommender.open(sys.argv[1], "shop")
histories = [["i1", "i7"], ["i3"], []] * 40
before = recommender.recommend(histories, 5)
child = os.fork()
if child == 0:
    os._exit(0 if recommender.recommend(histories, 5) == before else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_a_child_forked_after_its_parent_has_recommended_gives_the_same_lists(
    artifacts: dict[str, Artifact], config: Config
) -> None:
    """As servers do that load before they fork; without care it waits for threads that did not come along."""
    assert artifacts["fuse"]
    with subprocess.Popen(
        [sys.executable, "-c", _FORK, config.store], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.communicate(timeout=180)[0].strip() == "0"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the child too, which waits for ever where this fails
