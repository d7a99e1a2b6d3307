"""What is lost is said: in lines, with an example from either side, as a warning or as an error."""

import logging

import pandas as pd
import pytest

from tests.data.conftest import HEADER, Ingest, parquet, with_items
from tsrec.data.data_quality import data_quality_lines
from tsrec.data.ids import why_ids_differ
from tsrec.errors import DataError

ARTICLES = [f"0{number}" for number in (108775015, 110065001, 118458003, 120129014, 123173001)]
CATALOGUE = "item_id,title\n" + "".join(f"{article},Strap top {n}\n" for n, article in enumerate(ARTICLES))


def _purchases(ids: list[str]) -> str:
    """Ten purchases of one customer."""
    return HEADER + "".join(f"u,{ids[n % len(ids)]},2020-01-{n + 1:02d}\n" for n in range(10))


def _message(ingest: Ingest, files: dict[str, str | bytes]) -> str:
    with pytest.raises(DataError) as caught:
        ingest(files)
    return str(caught.value)


def test_zeros_lost_in_some_of_the_rows(ingest: Ingest) -> None:
    mixed = [*(article.lstrip("0") for article in ARTICLES[:2]), *ARTICLES[2:]]
    message = _message(ingest, {"items.csv": CATALOGUE, "interactions.csv": _purchases(mixed)})
    assert message.startswith("4 of 10 interactions (40.0%) name items that the catalogue lacks")
    assert "'108775015' in interactions.csv, which items.csv has as '0108775015'" in message
    assert "lost their leading zeros; keep ids as text" in message
    assert "ingest.max_loss=0.3" in message


def test_zeros_lost_in_the_catalogue(ingest: Ingest) -> None:
    message = _message(ingest, {"items.csv": CATALOGUE.replace("\n0", "\n"), "interactions.csv": _purchases(ARTICLES)})
    assert "'0108775015' in interactions.csv, which items.csv has as '108775015'" in message


def test_ids_written_as_floats(ingest: Ingest) -> None:
    floats = [f"{article.lstrip('0')}.0" for article in ARTICLES]
    message = _message(ingest, {"items.csv": CATALOGUE, "interactions.csv": _purchases(floats)})
    assert message.startswith("10 of 10 interactions (100.0%)")
    assert "'108775015.0' in interactions.csv, which items.csv has as '0108775015'" in message
    assert "floating-point numbers (.0) and lost their leading zeros" in message


def test_floats_of_parquet_are_the_ids_that_a_missing_value_made_floats(ingest: Ingest) -> None:
    events = pd.DataFrame({"user_id": [1] * 4, "item_id": [7.0, 8.0, 7.0, 8.0], "timestamp": range(4)})
    artifact = ingest({"items.csv": "item_id,title\n7,Glue\n8,Oil\n", "interactions.parquet": parquet(events)})
    assert artifact.frame("interactions")["item_id"].tolist() == ["7", "8", "7", "8"]


def test_whole_numbers_of_parquet_lost_their_zeros(ingest: Ingest) -> None:
    events = pd.DataFrame({"user_id": [1] * 4, "item_id": [int(ARTICLES[0])] * 4, "timestamp": range(4)})
    files: dict[str, str | bytes] = {"items.csv": CATALOGUE, "interactions.parquet": parquet(events)}
    assert "lost their leading zeros" in _message(ingest, files)


def test_floats_that_lost_digits_are_no_ids(ingest: Ingest) -> None:
    events = pd.DataFrame({"user_id": ["u"], "item_id": [1.2345678901234568e18], "timestamp": [1]})
    files: dict[str, str | bytes] = {"items.csv": CATALOGUE, "interactions.parquet": parquet(events)}
    assert "lost the last digits of an id" in _message(ingest, files)


@pytest.mark.parametrize(
    ("unknown", "known", "cause"),
    [
        (["b00a", "b00b"], ["B00A", "B00B"], "differ in case"),
        (["7 ", " 8"], ["7", "8"], "blanks stand around"),
        (["7", "8"], ["007", "008"], "leading zeros"),
        (["7.0"], ["7", "8"], "floating-point"),
        (["0"], ["000"], "leading zeros"),
        (["p", "q", "7.0"], ["7", "x"], None),
    ],
)
def test_why_ids_do_not_meet(unknown: list[str], known: list[str], cause: str | None) -> None:
    found = why_ids_differ(pd.Index(unknown, dtype="str"), pd.Index(known, dtype="str"))
    assert (found is None) == (cause is None)
    assert found is None or (cause or "") in found[0]


def test_ids_that_have_nothing_in_common_are_shown_from_either_side(ingest: Ingest) -> None:
    message = _message(ingest, with_items(CATALOGUE))
    assert "e.g. 'a' in interactions.csv, while items.csv has ids such as '0118458003'" in message


def test_a_bound_that_is_raised_lets_them_go(ingest: Ingest, caplog: pytest.LogCaptureFixture) -> None:
    files: dict[str, str | bytes] = {"items.csv": CATALOGUE, "interactions.csv": _purchases([*ARTICLES, "9", "8"])}
    with caplog.at_level(logging.WARNING, logger="tsrec"):
        artifact = ingest(files, max_loss=0.5)
    (line,) = data_quality_lines(artifact)
    assert line.startswith("warning: 2 of 10 interactions (20.0%) name items that the catalogue lacks; e.g. '9'")
    assert line.removeprefix("warning: ") in caplog.text


def test_what_a_setting_asked_for_is_told_without_a_warning(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"items.csv": CATALOGUE, "interactions.csv": _purchases(ARTICLES)}
    artifact = ingest(files, since="2020-01-05")
    assert data_quality_lines(artifact) == ["4 of 10 interactions (40.0%) go by ingest.since, until"]


def test_nothing_lost_is_nothing_said(ingest: Ingest) -> None:
    assert data_quality_lines(ingest()) == []


def test_items_without_text_stop_a_run(ingest: Ingest) -> None:
    message = _message(ingest, with_items("item_id,title\na,\nb,\nc,Oil\n"))
    assert message.startswith("2 of 3 items (66.7%) have no text; their id stands for it; see ingest.text_fields")
