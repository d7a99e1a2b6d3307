"""Kinds of events are chosen by value, and true and false are numbers where one is asked for."""

from typing import Any

import pandas as pd
import pytest

from tests.data.conftest import ITEMS, Ingest, parquet, with_log
from tsrec.config import IngestConfig, canonical, load_config
from tsrec.errors import ConfigError, DataError

# a job board: 0 shown, 1 click, 2 bookmark, 4 deleted
KINDS = [0, 1, 1, 4, 2, 1, 1]


def _log(event_types: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": "u",
            "item_id": list("abcabca"),
            "timestamp": range(len(event_types)),
            "kind": pd.Series(event_types, dtype=object),
        }
    )


def _times(ingest: Ingest, files: dict[str, str | bytes], **config: Any) -> list[int]:
    times: list[int] = ingest({"items.csv": ITEMS, **files}, **config).frame("interactions")["timestamp"].tolist()
    return times


@pytest.mark.parametrize("wanted", [[1, 2], ["1", "2"], [1.0, "2.0"], [True, 2], [" 01", "2"]])
@pytest.mark.parametrize("form", [int, float, str])
def test_values_are_compared_as_people_mean_them(ingest: Ingest, wanted: list[Any], form: Any) -> None:
    log = _log([form(kind) for kind in KINDS]).to_csv(index=False)
    assert _times(ingest, {"interactions.csv": log}, keep={"kind": wanted}) == [1, 2, 4, 5, 6]


@pytest.mark.parametrize("words", [("true", "false"), ("True", "False"), ("t", "f"), ("YES", "NO"), ("1.0", "0.0")])
def test_true_and_false_are_one_and_zero_in_any_spelling(ingest: Ingest, words: tuple[str, str]) -> None:
    """As kinds, and as ratings."""
    log = _log([words[kind in (0, 4)] for kind in KINDS]).to_csv(index=False)
    for settings in (
        {"keep": {"kind": True}},
        {"keep": {"kind": "yes"}},
        {"keep": {"kind": [1]}},
        {"interaction_columns": {"rating": "kind"}, "min_rating": 1},
    ):
        assert _times(ingest, {"interactions.csv": log}, **settings) == [1, 2, 4, 5, 6]


def test_booleans_of_parquet_and_json_beside_missing_ones(ingest: Ingest) -> None:
    log, rated = _log([True, None, True, False, True, True, True]), {"interaction_columns": {"rating": "kind"}}
    for name, content in (("log.parquet", parquet(log)), ("log.jsonl", log.to_json(orient="records", lines=True))):
        files: dict[str, str | bytes] = {name: content}
        assert _times(ingest, files, interactions_file=name, keep={"kind": [True]}) == [0, 2, 4, 5, 6]
        assert _times(ingest, files, interactions_file=name, min_rating=1, **rated) == [0, 2, 4, 5, 6]
        assert _times(ingest, files, interactions_file=name, keep={"kind": [True, None]}) == [0, 1, 2, 4, 5, 6]


def test_what_is_left_out_is_counted_and_needs_no_known_item(ingest: Ingest) -> None:
    """Searches name places where clicks name items; they are no interactions whose item is unknown."""
    log = _log(["click"] * 7).to_csv(index=False) + "u,Paris,,search\n" * 9
    artifact = ingest(with_log(log), keep={"kind": "click"})
    assert artifact.counts["n_dropped_by_keep"] == 9
    assert artifact.counts["n_interactions_read"] == 16
    assert artifact.counts["n_interactions_with_unknown_items"] == 0
    (loss,) = [loss for loss in artifact.json("losses") if "ingest.keep" in loss["text"]]
    assert loss == {"n": 9, "total": 16, "text": "9 of 16 interactions (56.2%) go by ingest.keep", "is_warning": False}


def test_letters_alone_are_no_other_kind(ingest: Ingest) -> None:
    log = _log(["f", "m", "n", "f", "f", "f", "0"]).to_csv(index=False)
    assert _times(ingest, {"interactions.csv": log}, keep={"kind": "f"}) == [0, 3, 4, 5]


def test_of_several_columns_all_have_to_fit(ingest: Ingest) -> None:
    log = _log(KINDS).assign(shop=["x", "x", "y", "x", "x", "x", "x"]).to_csv(index=False)
    assert _times(ingest, {"interactions.csv": log}, keep={"kind": [1, 2], "shop": ["x"]}) == [1, 4, 5, 6]


def test_a_bad_row_is_named_by_its_place_in_the_file(ingest: Ingest) -> None:
    log = _log(KINDS).assign(timestamp=[0, 1, 2, 3, 4, "x", 6]).to_csv(index=False)
    with pytest.raises(DataError, match=r"interactions\.csv: row 6, field timestamp: 'x' is not a number"):
        ingest(with_log(log), keep={"kind": [1]})


def test_a_value_that_stands_nowhere_is_told(ingest: Ingest) -> None:
    log = _log(["clicks"] * 5 + ["orders"] * 2).to_csv(index=False)
    files = with_log(log)
    (loss,) = [loss for loss in ingest(files, keep={"kind": ["clicks", "order"]}).json("losses") if loss["is_warning"]]
    assert "kind is never 'order'; other values there are 'orders'" in loss["text"]
    with pytest.raises(DataError, match=r"leaves no interaction: kind is never 'Click'; other .* 'clicks', 'orders'"):
        ingest(files, keep={"kind": ["Click"]})
    with pytest.raises(
        DataError, match=r"no column type \(for ingest\.keep\.type\); it has user_id, item_id, timestamp, kind"
    ):
        ingest(files, keep={"type": ["Click"]})


def test_how_kinds_are_set() -> None:
    config = load_config(
        None, ["ingest.source=tables", "ingest.keep={type: [clicks, 2], day: 2018-07-01, liked: true}"]
    )
    assert config.ingest.keep == {"type": ("clicks", "2"), "day": ("2018-07-01",), "liked": ("true",)}
    assert IngestConfig(source="tables", keep={"a": [1, True, 2.5, None]}).keep == {"a": ("1", "true", "2.5", None)}
    assert load_config(None, ["ingest.source=tables", "ingest.min_rating=true"]).ingest.min_rating == 1
    assert "keep" not in canonical(IngestConfig(source="tables"))
    assert canonical(config.ingest)["keep"]["type"] == ["clicks", "2"]
    for wrong, message in (("{type: []}", "no value given"), ("{a: {b: [1]}}", "expected a list of values")):
        with pytest.raises(ConfigError, match=message):
            load_config(None, ["ingest.source=tables", f"ingest.keep={wrong}"])
    with pytest.raises(ConfigError, match=r"ingest\.keep is not for source 'movielens'"):
        load_config(None, ["ingest.source=movielens", "ingest.keep={rating: [5]}"])
