"""Files as they arrive: twice, late, in many parts, half-written. What is harmless is counted, the rest is refused."""

from pathlib import Path

import pytest

from tests.data.conftest import EVENTS, HEADER, ITEMS, Ingest, with_log
from tsrec import pipeline
from tsrec.config import load_config
from tsrec.data.data_quality import data_quality_lines
from tsrec.data.truncated_files import lacks_line_end
from tsrec.errors import DataError
from tsrec.store import ArtifactStore

PARTS = {"interactions/1.csv": HEADER + "u,a,0\nu,b,1\n", "interactions/2.csv": HEADER + "u,c,2\nu,a,3\n"}


@pytest.mark.parametrize("order", ["timestamp", "rows"])
def test_a_file_that_comes_twice_is_read_once(ingest: Ingest, order: str) -> None:
    once = ingest({"items.csv": ITEMS, **PARTS}, order=order)
    twice = ingest({"interactions/1 again.csv": PARTS["interactions/1.csv"]}, order=order)
    assert twice.table("interactions").equals(once.table("interactions"))
    assert (once.counts["n_files_repeated"], twice.counts["n_files_repeated"]) == (0, 1)
    assert any("1 of 3 files (33.3%) have the bytes of another" in line for line in data_quality_lines(twice))
    kept = ingest({}, order=order, duplicates="keep")
    assert kept.counts["n_interactions"] == 6


def test_the_same_bytes_on_two_days_are_two_files(ingest: Ingest) -> None:
    rows = "user_id,item_id\nu,a\nu,b\n"
    days = {f"interactions/day=2026-11-{day}/part-0.csv": rows for day in (24, 25)}
    artifact = ingest({"items.csv": ITEMS, **days}, interaction_columns={"timestamp": "day"})
    assert artifact.counts["n_interactions"] == 4 and artifact.counts["n_files_repeated"] == 0


def test_rows_that_come_twice_or_late_change_nothing(ingest: Ingest) -> None:
    """The second day brings a row of the first once more, and one that should have come with the first."""
    late = {"interactions/1.csv": HEADER + "u,a,0\nu,c,2\n", "interactions/2.csv": HEADER + "u,c,2\nu,b,1\nu,a,3\n"}
    artifact = ingest({"items.csv": ITEMS, **late})
    assert artifact.table("interactions").equals(ingest({"interactions/2.csv": "", **PARTS}).table("interactions"))
    assert artifact.counts["n_duplicates"] == 1


def test_of_an_item_in_many_files_the_last_row_counts(ingest: Ingest) -> None:
    days = {"items_2026-11-9.csv": ITEMS, "items_2026-11-10.csv": "item_id,title\nb,Copper wire\nd,Rope\n"}
    artifact = ingest({**days, "interactions.csv": EVENTS})
    items = artifact.frame("items").set_index("item_id")["title"]
    assert items.to_dict() == {"a": "Glue", "b": "Copper wire", "c": "Oil", "d": "Rope"}
    assert artifact.counts["n_repeated_items"] == 1
    again = ingest({"items_2026-11-10.csv": "item_id,title\nb,Copper wire\nb,Rope\n"})
    assert again.frame("items").set_index("item_id")["title"]["b"] == "Rope"
    assert again.counts["n_repeated_items"] == 2


CUT = EVENTS.rstrip("\n") + "\nu,b,12"  # of 1234


def test_a_file_that_stops_within_a_line_is_read_with_a_warning(ingest: Ingest) -> None:
    cut = ingest(with_log(CUT))
    assert cut.counts["n_files_without_line_end"] == 1
    (line,) = [line for line in data_quality_lines(cut) if "stop within a line" in line]
    assert line.startswith("warning: 1 of 2 files") and "interactions.csv: its last row may be cut" in line
    assert ingest({"interactions.csv": CUT + "34\n"}).counts["n_files_without_line_end"] == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "latin-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_line_has_its_end_in_any_encoding_and_nowhere_else(tmp_path: Path, encoding: str, line_end: str) -> None:
    file, log = tmp_path / "interactions.csv", EVENTS.replace("\n", line_end)
    whole = log.encode(encoding)
    for n_bytes in range(len(whole) + 1):
        file.write_bytes(whole[:n_bytes])
        text = whole[:n_bytes].decode(encoding, errors="ignore")
        if not lacks_line_end(file):  # then no value is cut, though the line's end itself may be
            assert text[-1:] in "\r\n" or log[len(text)] in "\r\n"
    assert not lacks_line_end(file)  # the whole


def test_a_file_that_grows_while_a_run_reads_is_noticed(shop: Path, shop_settings: list[str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for file in shop.iterdir():
        (data / file.name).write_bytes(file.read_bytes())
    config = load_config(None, [*shop_settings, f"store={tmp_path / 'store'}", f"ingest.path={data}"])
    planned, store = pipeline.plan(config)["ingest"], ArtifactStore(tmp_path / "store")
    with (data / "interactions.csv").open("a", encoding="utf-8") as stream:
        stream.write("u1,i1,300\n")
    with pytest.raises(DataError, match=r"interactions\.csv: has changed, or come, since this run began; run again"):
        pipeline.build(planned, store, {})
    assert store.find(planned.key) is None
    assert pipeline.build(pipeline.plan(config)["ingest"], store, {}).counts["n_interactions_read"] > 0
