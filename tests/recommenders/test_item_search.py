"""Search by the graph of a large catalogue, held to the exact search; how close it has to come is stated here."""

from pathlib import Path

import numpy as np
import pytest

from tsrec.recommenders.item_search import nearest_items, open_index, vectors_of, write_graph
from tsrec.recommenders.ranking import Filter

N, D, K = 3_000, 24, 100


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Sixty topics of fifty items, of lengths that differ."""
    random = np.random.default_rng(1)
    centres = random.normal(size=(60, D))
    lengths = random.lognormal(sigma=0.3, size=(N, 1))
    return (lengths * (np.repeat(centres, 50, axis=0) + 0.5 * random.normal(size=(N, D)))).astype(np.float32)


@pytest.fixture(scope="module")
def queries(vectors: np.ndarray) -> np.ndarray:
    """Sums of three items' vectors."""
    return vectors[np.random.default_rng(2).integers(N, size=(40, 3))].sum(axis=1)


@pytest.fixture(scope="module")
def graph(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the graph, which a catalogue of this size has only where it is asked for."""
    folder = tmp_path_factory.mktemp("graph")
    write_graph(vectors, folder)
    assert not list(folder.iterdir())
    write_graph(vectors, folder, exact_at_most=N - 1)
    return folder


def _recall(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(one, other)) / K for one, other in zip(found, exact, strict=True)]))


def test_of_a_hundred_items_at_least_95_are_found(vectors: np.ndarray, queries: np.ndarray, graph: Path) -> None:
    blocked = [np.arange(row, N, 7) for row in range(len(queries))]
    for allow in (Filter(N), Filter(N, blocked), Filter(N, None, np.arange(N) % 3 > 0)):
        exact = nearest_items(open_index(vectors, Path("nowhere")), queries, K, allow)
        found = nearest_items(open_index(vectors, graph), queries, K, allow)
        assert _recall(found.items, exact.items) >= 0.95
        products = np.take_along_axis(queries @ vectors.T, found.items.astype(np.int64), axis=1)
        assert np.allclose(found.scores, products, rtol=1e-4, atol=1e-4)
        assert allow.keeps(np.arange(len(queries))[:, None], found.items).all()


def test_where_few_items_are_allowed_all_are_looked_at(vectors: np.ndarray, queries: np.ndarray, graph: Path) -> None:
    allow = Filter(N, None, np.arange(N) % 20 == 0)
    exact = nearest_items(open_index(vectors, Path("nowhere")), queries, K, allow)
    assert np.array_equal(nearest_items(open_index(vectors, graph), queries, K, allow).items, exact.items)


def test_the_same_vectors_give_the_same_bytes(vectors: np.ndarray, graph: Path, tmp_path: Path) -> None:
    write_graph(vectors, tmp_path, exact_at_most=0)
    (first,), (again,) = graph.iterdir(), tmp_path.iterdir()
    assert first.read_bytes() == again.read_bytes()


def test_an_index_gives_its_vectors_back(vectors: np.ndarray, graph: Path) -> None:
    for folder in (graph, Path("nowhere")):
        index = open_index(vectors, folder)
        assert np.array_equal(vectors_of(index), vectors)
