"""Every source gives the same two tables, whatever its files look like."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.data.conftest import EVENTS, ITEMS, Ingest, json_lines, parquet, run_ingest
from tsrec import errors
from tsrec.columns import Split
from tsrec.config import IngestConfig
from tsrec.data.sources import SOURCES
from tsrec.errors import DataError
from tsrec.histories import read_histories
from tsrec.store import Artifact

SHARED = Path(__file__).parents[2] / "../shared/data"
FRAMES = [pd.read_csv(io.StringIO(text)) for text in (ITEMS, EVENTS)]


FORMATS: dict[str, Callable[[pd.DataFrame], str | bytes]] = {
    "csv": lambda frame: "\ufeff" + frame.to_csv(index=False),
    "tsv": lambda frame: frame.to_csv(index=False, sep="\t"),
    "jsonl": lambda frame: json_lines(frame.to_dict("records")),
    "jsonl.gz": lambda frame: gzip.compress(json_lines(frame.to_dict("records")).encode()),
    "parquet": parquet,
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_tables_in_every_format(ingest: Ingest, suffix: str) -> None:
    write = FORMATS[suffix]
    artifact = ingest({f"items.{suffix}": write(FRAMES[0]), f"interactions.{suffix}": write(FRAMES[1])})
    assert artifact.frame("items")["title"].tolist() == ["Glue", "Wire", "Oil"]
    events = artifact.table("interactions")
    assert events.schema.names == ["user_id", "item_id", "timestamp", "position", "split"]
    assert [str(column.type) for column in events.schema] == ["string", "string", "int64", "int32", "string"]
    assert events.to_pandas()["item_id"].tolist() == ["a", "b", "c", "a"]


def test_tables_with_other_column_names(ingest: Ingest) -> None:
    artifact = ingest(
        {"shop.csv": ITEMS.replace("item_id,title", "sku,name"), "log.csv": EVENTS.replace("timestamp", "bought_at")},
        items_file="shop.csv",
        interactions_file="log.csv",
        item_columns={"item_id": "sku", "title": "name"},
        interaction_columns={"timestamp": "bought_at"},
    )
    assert artifact.frame("items")["title"].tolist() == ["Glue", "Wire", "Oil"]
    assert artifact.counts["n_interactions"] == 4


def test_number_ids_become_strings(ingest: Ingest) -> None:
    items = pd.DataFrame({"item_id": [10, 9], "title": ["Ten", "Nine"]})
    events = pd.DataFrame(
        {"user_id": [1] * 4, "item_id": [9, 10, 9, 10], "timestamp": pd.date_range("2020-01-04", freq="-1D", periods=4)}
    )
    artifact = ingest({"items.parquet": parquet(items), "interactions.parquet": parquet(events)})
    assert artifact.frame("items")["item_id"].tolist() == ["10", "9"]
    assert artifact.frame("interactions")["item_id"].tolist() == ["10", "9", "10", "9"]
    assert artifact.frame("interactions")["timestamp"].tolist()[:2] == [1_577_836_800, 1_577_923_200]


def test_recbole_atomic_files(ingest: Ingest) -> None:
    artifact = ingest(
        {
            "toys.item": 'item_id:token\titem_title:token_seq\tgenre:token_seq\na\t12" ruler\tTools\nb\tGlue\t\n',
            "toys.inter": "user_id:token\titem_id:token\ttimestamp:float\nu\tb\t881250949\nu\ta\t881250950.5\n"
            "u\ta\t881250951\nu\tb\t881250952\n",
        },
        source="recbole",
    )
    assert artifact.frame("items")["text"].tolist() == ['12" ruler; Tools', "Glue"]
    assert artifact.frame("interactions")["timestamp"].tolist()[:2] == [881250949000, 881250950500]


AMAZON: dict[str, dict[str, str]] = {
    "2014": {
        "meta_Toys.json": "{'asin': 'B1', 'title': \"Kid's glue\", 'brand': 'Bond', "
        "'description': 'Sticks &amp; holds', 'categories': [['Toys', 'Craft'], ['Office']]}\n"
        "{'asin': 'B2', 'title': 'Wire'}\n",
        "reviews_Toys_5.json": json_lines(
            [
                {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1400000000 + n, "reviewText": "ok"}
                for n in range(4)
            ]
        ),
    },
    "2018": {
        "meta_Toys.json": json_lines(
            [
                {"asin": "B1", "title": "Kid's glue", "brand": "Bond", "description": ["Sticks", "&amp; holds"]}
                | {"category": ["Toys", "Craft"]},
                {"asin": "B2", "title": "Wire", "description": [], "category": []},
                {"asin": "B1", "title": "Kid's glue again", "description": [], "category": []},
            ]
        ),
        "Toys_5.json": json_lines(
            [{"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1400000000 + n} for n in range(4)]
        ),
    },
    "2023": {
        "meta_Toys.jsonl": json_lines(
            [
                {"parent_asin": "B1", "title": "Kid's glue", "store": "Bond", "description": ["Sticks & holds"]}
                | {"categories": ["Toys", "Craft"]},
                {"parent_asin": "B2", "title": "Wire", "store": None, "description": [], "categories": []},
            ]
        ),
        "Toys.jsonl": json_lines(
            [
                {"user_id": "A1", "asin": "B9", "parent_asin": "B1", "rating": 5.0, "timestamp": 1400000000123 + n}
                for n in range(4)
            ]
        ),
    },
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("year", AMAZON)
def test_amazon_of_every_year(ingest: Ingest, year: str, packed: bool) -> None:
    files: dict[str, str | bytes] = dict(AMAZON[year])
    if packed:
        files = {f"{name}.gz": gzip.compress(text.encode()) for name, text in AMAZON[year].items()}
    artifact = ingest(files, source="amazon", min_rating=4)
    glue, wire = artifact.frame("items").to_dict("records")
    categories = "Toys > Craft; Office" if year == "2014" else "Toys > Craft"
    assert glue["text"] == f"Kid's glue; Bond; {categories}; Sticks & holds"
    assert wire["text"] == "Wire"
    assert artifact.counts["n_repeated_items"] == (1 if year == "2018" else 0)
    event = artifact.frame("interactions").iloc[0]
    assert (event["user_id"], event["item_id"]) == ("A1", "B1")
    assert event["timestamp"] == (1400000000123 if year == "2023" else 1400000000)


def test_amazon_reviews_are_missing(ingest: Ingest) -> None:
    message = r"expected one file raw_review\* or \*\.json\*, found none; set ingest\.interactions_file"
    with pytest.raises(errors.DataError, match=message):
        ingest({"meta_Toys.json": AMAZON["2014"]["meta_Toys.json"]}, source="amazon")


def test_amazon_file_that_is_none(ingest: Ingest) -> None:
    files = {"meta_Toys.json": AMAZON["2018"]["meta_Toys.json"], "Toys.json": '{"sku": 1}\n'}
    with pytest.raises(
        errors.DataError, match=r"Toys\.json: no column user_id or reviewerID \(for user_id\); it has sku"
    ):
        ingest(files, source="amazon")


def _hub_parquet() -> dict[str, str | bytes]:
    """2023 as the hub serves it: list and struct columns, missing values as `None` in words."""
    meta = [
        {"parent_asin": "B1", "title": "Kid's glue", "store": "Bond", "price": "None", "images": [{"thumb": "x"}]}
        | {"description": ["Sticks", "& holds"], "categories": ["Toys", "Craft"]},
        {"parent_asin": "B2", "title": "Wire", "store": None, "price": "None", "images": []}
        | {"description": [], "categories": []},
    ]
    review = {"user_id": "A1", "asin": "B9", "parent_asin": "B1", "rating": 5.0, "images": []}
    return {
        "meta_Toys.parquet": parquet(pd.DataFrame(meta)),
        "Toys.parquet": parquet(pd.DataFrame([review | {"timestamp": 1400000000123 + n} for n in range(4)])),
    }


def test_amazon_2023_as_parquet(ingest: Ingest) -> None:
    artifact = ingest(_hub_parquet(), source="amazon")
    assert artifact.frame("items")["text"].tolist() == ["Kid's glue; Bond; Toys > Craft; Sticks & holds", "Wire"]
    assert artifact.counts["n_values_from_lists_or_objects"] == 4
    assert artifact.frame("interactions")["item_id"].tolist() == ["B1"] * 4


def test_amazon_parquet_as_tables(ingest: Ingest) -> None:
    artifact = ingest(
        _hub_parquet(),
        items_file="meta_Toys.parquet",
        interactions_file="Toys.parquet",
        item_columns={"item_id": "parent_asin", "brand": "store"},
        interaction_columns={"item_id": "parent_asin"},
    )
    assert artifact.frame("items")["text"].tolist() == ["Kid's glue; Bond; Toys, Craft; Sticks & holds", "Wire"]


def test_amazon_in_the_folders_of_the_hub(ingest: Ingest) -> None:
    lines = AMAZON["2023"]
    files: dict[str, str | bytes] = {
        "raw_meta_Toys/full-00000-of-00001.jsonl": lines["meta_Toys.jsonl"],
        "raw_review_Toys/full-00000-of-00001.jsonl": lines["Toys.jsonl"],
    }
    assert ingest(files, source="amazon").counts["n_interactions"] == 4


def test_amazon_honours_a_mapping(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = dict(AMAZON["2014"])
    artifact = ingest(files, source="amazon", item_columns={"description": "brand", "brand": "description"})
    assert artifact.frame("items")["text"][0] == "Kid's glue; Sticks & holds; Toys > Craft; Office; Bond"


def _targets(artifact: Artifact) -> tuple[int, ...]:
    histories = read_histories(artifact)
    return tuple(len(histories.target_events(split)) for split in (Split.TRAIN, Split.VALID, Split.TEST))


def test_movielens_from_its_wheel(tmp_path: Path) -> None:
    try:
        SOURCES["movielens-100k"].files(IngestConfig())
    except errors.MissingDependencyError as error:
        pytest.skip(str(error))
    artifact = run_ingest(IngestConfig(), tmp_path)
    items = artifact.frame("items").set_index("item_id")
    assert items.loc["1", "title"] == "Toy Story (1995)"
    assert items.loc["1", "categories"] == "Animation, Children's, Comedy"
    assert artifact.counts["n_interactions"] == 100_000
    assert _targets(artifact) == (100_000 - 3 * 943, 943, 943)


RATINGS = "7::1::5::881250949\n7::2::3::881250950\n7::1::4::881250951\n7::2::4::881250952\n"
GENRES = 19
FILMS = "1::Les Misérables (1995)::Action|Western\n2::Wire (1996)::(no genres listed)\n"
MOVIELENS: dict[str, dict[str, str | bytes]] = {
    "100k": {
        "u.item": f"1|Les Misérables (1995)|01-Jan-1995||http://x|0|1{'|0' * (GENRES - 3)}|1\n"
        f"2|Wire (1996)|01-Jan-1996||http://x{'|0' * GENRES}\n".encode("latin-1"),
        "u.data": RATINGS.replace("::", "\t"),
    },
    "1m": {
        "movies.dat": FILMS.encode("latin-1"),
        "ratings.dat": RATINGS,
        "users.dat": "7::F::1::10::48067\n",
    },
    "10m": {"movies.dat": FILMS, "ratings.dat": RATINGS.replace("::3::", "::3.5::")},
    "32m": {
        "movies.csv": "movieId,title,genres\n" + FILMS.replace("::", ",").replace("Wire (1996)", '"Wire (1996)"'),
        "ratings.csv": "userId,movieId,rating,timestamp\n" + RATINGS.replace("::", ","),
        "tags.csv": "userId,movieId,tag,timestamp\n",
    },
}
MOVIELENS["1m as .csv"] = {name.replace(".dat", ".csv"): text for name, text in MOVIELENS["1m"].items()}


@pytest.mark.parametrize("size", MOVIELENS)
def test_movielens_as_published(ingest: Ingest, size: str) -> None:
    artifact = ingest(MOVIELENS[size], source="movielens", min_rating=3)
    texts = artifact.frame("items")["text"].tolist()
    assert texts == ["Les Misérables (1995); Action, Western", "Wire (1996)"]
    assert artifact.frame("interactions")["item_id"].tolist() == ["1", "2", "1", "2"]


def test_names_of_columns_are_not_asked_for_where_they_are_refused(ingest: Ingest) -> None:
    for source, is_hinted in (("tables", True), ("movielens", False)):
        with pytest.raises(DataError, match="found none; set") as error:
            ingest({"interactions.csv": EVENTS}, source=source)
        assert ("map ingest.item_columns" in str(error.value)) is is_hinted


def test_movielens_that_is_none(ingest: Ingest) -> None:
    files = {"movies.csv": "sku,name\n", "ratings.csv": ""}
    with pytest.raises(errors.DataError, match=r"movies\.csv: line 1: 'sku,name' is no line of MovieLens"):
        ingest(files, source="movielens")


def test_a_mapping_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ingest\.item_columns is not for source 'movielens'"):
        IngestConfig(source="movielens", path="x", item_columns={"title": "name"})


def test_movielens_without_its_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(errors.MissingDependencyError, match=r"pip install --no-deps recbole==1\.2\.1"):
        SOURCES["movielens-100k"].files(IngestConfig())


@pytest.mark.parametrize(
    ("name", "n_items", "n_users", "n_events", "targets"),
    [
        ("industrial", 3_686, 7_694, 53_018, (36_259, 4_532, 4_533)),
        ("beauty", 12_101, 22_363, 198_502, (131_413, 22_363, 22_363)),
    ],
)
def test_published_sets(
    tmp_path: Path, name: str, n_items: int, n_users: int, n_events: int, targets: tuple[int, ...]
) -> None:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the {name} set is not beside the project")
    artifact = run_ingest(IngestConfig(source="tables", path=str(folder), split="column"), tmp_path)
    assert (artifact.counts["n_items"], artifact.counts["n_users"]) == (n_items, n_users)
    assert artifact.counts["n_interactions"] == n_events
    assert _targets(artifact) == targets
