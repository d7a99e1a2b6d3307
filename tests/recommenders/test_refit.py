"""What members have seen that are fitted once more: which events count, those that are context only among them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.keys import key_of
from tests.recommenders.conftest import interactions_of, item_ids
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.recommenders.catalogue import open_catalogue, read_catalogue_as_train
from tsrec.recommenders.refit import WITH_VALID
from tsrec.recommenders.served_members import EVERYTHING
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

T, V, X, H = (split.value for split in (Split.TRAIN, Split.VALID, Split.TEST, Split.HISTORY))
N_ITEMS = 9


@pytest.fixture(scope="module")
def ingest(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Items are numbered in the order of events, so that a count says which events counted."""
    users = {
        "a": [(0, T), (1, V), (2, H), (3, X), (4, H)],  # H: train after valid, and after test
        "b": [(5, H), (6, T)],
        "c": [(7, X), (8, V)],
    }

    def write(out: ArtifactWriter) -> None:
        out.write_table("items", pa.table({C.ITEM: item_ids(N_ITEMS).tolist()}))
        out.write_table("interactions", interactions_of(users))

    return ArtifactStore(Path(tmp_path_factory.mktemp("store"))).build(key_of("ingest"), write)


def test_members_that_serve_have_seen_every_event(ingest: Artifact) -> None:
    catalogue, histories = read_catalogue_as_train(ingest, EVERYTHING)
    assert (histories.splits == T).all()
    assert catalogue.train_counts.tolist() == open_catalogue(ingest, EVERYTHING).train_counts.tolist() == [1] * N_ITEMS


def test_a_refit_learns_from_context_but_not_from_what_comes_after_a_test_event(ingest: Artifact) -> None:
    catalogue, histories = read_catalogue_as_train(ingest, WITH_VALID)
    assert np.flatnonzero(catalogue.train_counts).tolist() == [0, 1, 2, 5, 6, 8]
    assert histories.splits.tolist() == [T, T, T, X, H, T, T, X, T]
