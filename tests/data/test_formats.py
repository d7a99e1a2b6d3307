"""Separators, encodings, quotes, headers, times: read by settings, and a failed reading names the setting."""

import io
import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.conftest import EVENTS, HEADER, ITEMS, Ingest, parquet, with_items, with_log
from tsrec.config import load_config
from tsrec.errors import ConfigError, DataError

FILMS = "a::Misérables au Café, Les (1995)::Action|Romance\nb::Wire (1996)::Drama\nc::Oil (1997)::Drama\n"
RATINGS = "".join(f"u::{item}::5::{time}\n" for time, item in enumerate("abca"))
DAT = {"movies.dat": FILMS.encode("latin-1"), "ratings.dat": RATINGS}
NAMED = {"items_file": "movies.dat", "interactions_file": "ratings.dat"}
FILM_NAMES, RATING_NAMES = ["item_id", "title", "categories"], ["user_id", "item_id", "rating", "timestamp"]


def test_each_failure_names_the_next_setting_until_it_reads(ingest: Ingest) -> None:
    form: dict[str, object] = {}
    cures = [
        (
            r"movies\.dat: ingest\.items_format\.separator is not set; the file looks separated by '::'",
            {"separator": "::"},
        ),
        (r"movies\.dat: line 1: not UTF-8; set ingest\.items_format\.encoding=latin-1", {"encoding": "latin-1"}),
        (r"no column item_id .* name its columns in ingest\.items_format\.column_names", {"column_names": FILM_NAMES}),
    ]
    for message, setting in cures:
        with pytest.raises(
            DataError, match=message.replace("items_format.separator is", "ingest.items_format.separator is")
        ):
            ingest(DAT, **NAMED, items_format=form)
        form |= setting
    artifact = ingest(
        DAT, **NAMED, items_format=form, interactions_format={"separator": "::", "column_names": RATING_NAMES}
    )
    assert artifact.frame("items")["title"][0] == "Misérables au Café, Les (1995)"
    assert artifact.frame("interactions")["item_id"].tolist() == ["a", "b", "c", "a"]


@pytest.mark.parametrize("separator", [";", "|", "\t", "::"])
def test_the_likely_separator_is_named(ingest: Ingest, separator: str) -> None:
    files = with_items(ITEMS.replace(",", separator))
    with pytest.raises(DataError) as caught:
        ingest(files)
    assert f"set ingest.items_format.separator={separator!r}" in str(caught.value)
    assert len(ingest(files, items_format={"separator": separator}).frame("items")) == 3


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
def test_encodings(ingest: Ingest, encoding: str) -> None:
    items = ITEMS.replace("Glue", "Café “Glue”" if encoding != "latin-1" else "Café")
    artifact = ingest(with_items(items.encode(encoding)), items_format={"encoding": encoding})
    assert artifact.frame("items")["title"][0] in ("Café “Glue”", "Café")


@pytest.mark.parametrize(
    ("encoding", "title"),
    [
        ("utf-16", "Café"),
        ("utf-16-le", "Glue"),
        ("cp1252", "Café “Glue”"),
        ("cp1251", "Русское название товара для дома"),
        ("cp932", "ラーメン大好き小泉さん"),
        ("gb18030", "中文标题测试内容很长"),
    ],
)
def test_the_likely_encoding_is_named(ingest: Ingest, encoding: str, title: str) -> None:
    items = ITEMS.replace("Glue", title).encode(encoding)
    with pytest.raises(DataError, match=rf"not UTF-8; set ingest\.items_format\.encoding={encoding}"):
        ingest(with_items(items))


QUOTED = pd.DataFrame(
    {
        "item_id": ["a", "b", "c"],
        "title": ['12" ruler', "Wire", 'The "best" oil'],
        "description": ["First line\nSecond line\tafter a tab", "plain", "plain"],
    }
)


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_what_pandas_writes_is_read_back(ingest: Ingest, suffix: str, separator: str) -> None:
    files = {f"items.{suffix}": QUOTED.to_csv(sep=separator, index=False), "interactions.csv": EVENTS}
    items = ingest(files).frame("items")
    assert items["title"].tolist() == QUOTED["title"].tolist()
    assert items["description"][0] == "First line Second line after a tab"


@pytest.mark.parametrize(
    "titles",
    [
        ['"Weird" Al', '12" ruler', '"Unclosed'],  # no notation: text after a mark
        ['"Hello', "World", 'again"'],  # could be one field over three lines, but so all rows have their fields
    ],
)
def test_marks_of_a_tsv_that_are_text_stay(ingest: Ingest, titles: list[str]) -> None:
    rows = "".join(f"{item}\t{title}\n" for item, title in zip("abc", titles, strict=True))
    artifact = ingest({"items.tsv": f"item_id\ttitle\n{rows}", "interactions.csv": EVENTS})
    assert artifact.frame("items")["title"].tolist() == titles


def test_a_mark_that_swallows_lines_is_refused_and_can_be_made_text(ingest: Ingest) -> None:
    files = with_items('item_id,title\na,"Glue\nb,Wire\nc,Oil\n')
    with pytest.raises(DataError, match=r"where quotation marks are text, set ingest\.items_format\.quoting=none"):
        ingest(files)
    titles = ingest(files, items_format={"quoting": "none"}).frame("items")["title"]
    assert titles.tolist() == ['"Glue', "Wire", "Oil"]


def test_backslashes_before_marks_as_spark_writes_them(ingest: Ingest) -> None:
    files = with_items('item_id,title\na,"The \\"best\\", glue"\nb,Wire\nc,Oil\n')
    with pytest.raises(DataError, match=r"ingest\.items_format\.escape='\\'"):
        ingest(files)
    assert ingest(files, items_format={"escape": "\\"}).frame("items")["title"][0] == 'The "best", glue'


def test_files_without_a_header(ingest: Ingest) -> None:
    files = with_items(ITEMS.split("\n", 1)[1])
    with pytest.raises(DataError, match=r"row 1 has 2 fields, ingest\.items_format\.column_names has 1 names"):
        ingest(files, items_format={"column_names": ["item_id"]})
    artifact = ingest(files, items_format={"column_names": ["sku", "title"]}, item_columns={"item_id": "sku"})
    assert artifact.frame("items")["title"].tolist() == ["Glue", "Wire", "Oil"]


NAMES = {"items_format": {"column_names": ["item_id", "title"]}}
UNCLOSED = r"items\.csv: row 1 \(line 2\): a mark \" is not closed, or has text behind it"
LIST = '{"user_id": 1, "item_id": ["a", "b"], "timestamp": 1}\n'
ONE_OBJECT = r"items\.json: one object holds the whole table; expected one object a line"
TABLE = pd.read_csv(io.StringIO(ITEMS))


@pytest.mark.parametrize(
    ("message", "files", "config"),
    [
        (r"the first line is a header; take ingest\.items_format\.column_names out", None, NAMES),
        *((UNCLOSED, with_items(f"item_id,title\na,{row}\nc,Oil\n"), {}) for row in ('"X" y', '"X', '"X\nb,"Y"')),
        (r"item_id: \['a', 'b'\] is not an id; write a row for each event", with_log(LIST, "interactions.jsonl"), {}),
        (ONE_OBJECT, with_items(TABLE.to_json(orient="columns"), "items.json"), {}),
        (ONE_OBJECT, with_items(TABLE.to_json(orient="index"), "items.json"), {}),
    ],
)
def test_what_is_written_in_no_way_that_is_read_is_refused(
    ingest: Ingest, message: str, files: dict[str, str | bytes] | None, config: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match=message):
        ingest(files, **config)


def test_two_columns_of_one_name_are_refused(ingest: Ingest) -> None:
    with pytest.raises(DataError, match=r"items\.csv: two columns are called 'title'"):
        ingest(with_items("item_id,title,title\na,b,c\n"))
    buffer = io.BytesIO()
    pq.write_table(pa.table([["u"], ["a"], [1], ["b"]], names=["user_id", "item_id", "timestamp", "item_id"]), buffer)
    files = {"items.csv": ITEMS, "events.parquet": buffer.getvalue()}
    with pytest.raises(DataError, match=r"events\.parquet: two columns are called 'item_id'; rename one"):
        ingest(files, interactions_file="events.parquet")
    assert len(ingest(files, interactions_file="interactions.csv").frame("interactions")) == 4


def test_any_suffix_where_the_separator_is_set(ingest: Ingest) -> None:
    files = {"items.psv": ITEMS.replace(",", "|"), "interactions.csv": EVENTS}
    assert ingest(files, items_format={"separator": "|"}).counts["n_items"] == 3


def test_python_literals_and_json_arrays(ingest: Ingest) -> None:
    literals = "{u'item_id': u'a', 'title': \"Kid's glue\", 'price': None}\n{'item_id': 'b', 'title': 'Wire'}\n"
    array = json.dumps([{"user_id": 7, "item_id": "ab"[time % 2], "timestamp": time} for time in range(4)], indent=1)
    artifact = ingest({"items.json": literals, "interactions.json": array})
    assert artifact.frame("items")["title"].tolist() == ["Kid's glue", "Wire"]
    assert artifact.frame("interactions")["user_id"].tolist() == ["7"] * 4


def test_numbers_stay_whole_beside_missing_ones(ingest: Ingest) -> None:
    items = '{"item_id": 1, "title": "Glue", "brand": 7}\n{"item_id": 2, "title": "Wire"}\n'
    columns = {"user_id": ["u"] * 5, "item_id": pd.array([2] * 5, dtype="Int64"), "timestamp": range(5)}
    artifact = ingest({"items.jsonl": items, "interactions.parquet": parquet(columns)})
    assert artifact.frame("items")["brand"].tolist() == ["7", ""]
    assert artifact.counts["n_interactions"] == 5


def test_the_order_of_rows_where_there_are_no_times(ingest: Ingest) -> None:
    files = with_log("user_id,item_id\nu,b\nv,a\nu,a\nu,a\nu,c\n")
    with pytest.raises(DataError, match=r"no column timestamp .*; where there are no times, set ingest\.order=rows"):
        ingest(files)
    events = ingest(files, order="rows").frame("interactions")
    assert events["item_id"].tolist() == ["b", "a", "a", "c", "a"]
    with pytest.raises(ValueError, match=r"ingest\.order=rows reads no times"):
        ingest(files, order="rows", since="2020-01-01")


def test_times_that_are_written_in_another_way(ingest: Ingest) -> None:
    log = "user_id,item_id,timestamp\nu,a,11/10/2019 9:05:58 AM\nu,b,11/09/2019 9:05:58 PM\n"
    log += "u,c,11/09/2019 9:05:58 AM\nu,a,12/01/2019 1:05:58 AM\n"
    artifact = ingest(with_log(log), time_format="%m/%d/%Y %I:%M:%S %p")
    assert artifact.frame("interactions")["item_id"].tolist() == ["c", "b", "a", "a"]
    with pytest.raises(DataError, match=r"row 1, field timestamp: '11/10/2019 9:05:58 AM' is not written as"):
        ingest(with_log(log), time_format="%Y")


@pytest.mark.parametrize(
    ("times", "formats"),
    [
        (["11/10/2019 9:05:58 AM", "11/13/2019 9:05:58 PM"], "'%m/%d/%Y %I:%M:%S %p'"),
        (["31/12/2019 10:00"], "'%d/%m/%Y %H:%M'"),
        (["11/10/2019"], "'%m/%d/%Y' or '%d/%m/%Y'"),
        (["Sun Jun 22 05:55:22 -0700 2014"], "'%a %b %d %H:%M:%S %z %Y'"),
        (["12.03.2024 19:00"], "'%d.%m.%Y %H:%M'"),
        (["12.03.24, 19:00:05"], "'%d.%m.%y, %H:%M:%S'"),
        (["12.03.2024 19:00 UTC"], "'%d.%m.%Y %H:%M UTC'"),
        (["2024-03-12 19:00:00,123"], "'%Y-%m-%d %H:%M:%S,%f'"),
        (["Tue Mar 12 19:00:00 UTC 2024"], "'%a %b %d %H:%M:%S UTC %Y'"),
        (["12-03-2024"], "'%m-%d-%Y' or '%d-%m-%Y'"),
        (["2024/13/12 19:00Z"], None),
        (["13.12.2024 19:00Z"], "'%d.%m.%Y %H:%M%z'"),
        (["12/Mar/2024:19:00:00 +0000"], "'%d/%b/%Y:%H:%M:%S %z'"),
        (["Posted November 5, 2011"], None),
    ],
)
def test_the_likely_format_of_times_is_named_and_reads(ingest: Ingest, times: list[str], formats: str | None) -> None:
    rows = "".join(f'u{number % 2},{"abc"[number % 3]},"{times[number % len(times)]}"\n' for number in range(12))
    files = with_log(HEADER + rows)
    with pytest.raises(DataError, match=r"row 1, field timestamp: .* is not a number or an ISO date") as caught:
        ingest(files)
    assert str(caught.value).partition("; set ingest.time_format=")[2] == (formats or "")
    if formats:
        read = ingest(files, time_format=formats.split("'")[1], duplicates="keep")
        assert read.counts["n_interactions"] == 12


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("item_columns={descripton: text}", r"item_columns: unknown field 'descripton'; did you mean 'description'"),
        ("interaction_columns={user: x}", r"interaction_columns: unknown field 'user'; did you mean 'user_id'"),
        ("interactions_format={seperator: ;}", r"interactions_format: unknown field 'seperator'; did you mean"),
        ("items_format.encoding=latin-8000", r"items_format\.encoding: no text encoding 'latin-8000'"),
    ],
)
def test_what_no_setting_can_be_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, ["ingest.source=tables", f"ingest.{override}"])


def test_a_mapping_in_yaml_names_only_what_differs() -> None:
    config = load_config(None, ["ingest.source=tables", "ingest.item_columns={item_id: sku}"])
    assert config.ingest.item_columns.renamed() == {"item_id": "sku"}
    settings = ["ingest.source=tables", r"ingest.items_format.separator='\t'"]
    assert load_config(None, settings).ingest.items_format.separator == "\t"


SHEET_ITEMS = "sku;name\na;Kleber für Öl\nb;Draht\nc;Öl\n"
SHEET = "kunde;sku;zeit;note\n" + "".join(
    f"u;{item};{day}.03.2024 19:00;{note}\n"
    for item, day, note in zip("cabcaa", (9, 10, 11, 12, 13, 8), "543215", strict=True)
).replace(";5\n", ";5,0\n").replace(";4\n", ";1.004,5\n").replace(";1\n", ";2,4\n")
SHEET_COLUMNS = {
    "item_columns": {"item_id": "sku", "title": "name"},
    "interaction_columns": {"user_id": "kunde", "item_id": "sku", "timestamp": "zeit", "rating": "note"},
}


def test_each_failure_of_a_spreadsheets_file_names_the_next_setting_until_it_reads(ingest: Ingest) -> None:
    files = {"items.csv": f"\ufeffsep=;\n{SHEET_ITEMS}", "interactions.csv": f"\ufeffsep=;\n{SHEET}"}
    settings: dict[str, object] = {**SHEET_COLUMNS, "min_rating": 2.5}
    with pytest.raises(DataError, match=r"row 1, field timestamp: .*; set ingest\.time_format='%d\.%m\.%Y %H:%M'$"):
        ingest(files, **settings)
    settings["time_format"] = "%d.%m.%Y %H:%M"
    with pytest.raises(
        DataError, match=r"row 1, field rating: '5,0' is not a number; set ingest\.interactions_format\."
    ):
        ingest(files, **settings)
    settings["interactions_format"] = {"decimal": ","}
    artifact = ingest(files, **settings)
    assert artifact.frame("interactions")["item_id"].tolist() == ["a", "c", "a", "b"]
    assert artifact.counts["n_dropped_by_rating"] == 2
    assert artifact.frame("items")["title"].tolist() == ["Kleber für Öl", "Draht", "Öl"]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;;;", "sep=|", "sep=\t", "sep=,"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_first_line_that_names_the_separator(ingest: Ingest, line: str, end: str, encoding: str) -> None:
    separator = line.strip('"')[4]
    files = {
        name: f"{line}\n{text}".replace(";" if "sku" in text else ",", separator).replace("\n", end).encode(encoding)
        for name, text in {"items.csv": ITEMS, "interactions.csv": EVENTS}.items()
    }
    form = {"encoding": encoding}
    artifact = ingest(files, items_format=form, interactions_format=form)
    assert artifact.frame("items")["title"].tolist() == ["Glue", "Wire", "Oil"]
    assert artifact.counts["n_interactions_read"] == 4


def test_rows_behind_such_a_line_are_counted_from_the_header(ingest: Ingest) -> None:
    log = "sep=;\n" + EVENTS.replace(",", ";")
    for bad, message in (
        ("u;a;9;9\n", r"row 5 has 4 fields, expected 3"),
        ('u;"a;9\n', r"row 5 \(line 7\): a mark"),
        ("u;a;never\n", r"row 5, field timestamp: 'never'"),
    ):
        with pytest.raises(DataError, match=message):
            ingest(with_log(log + bad))
    form = {"column_names": ["user_id", "item_id", "timestamp"]}
    headerless = with_log(log.replace("user_id;item_id;timestamp\n", ""))
    assert ingest(headerless, interactions_format=form).counts["n_interactions"] == 4


def test_an_item_of_such_a_name(ingest: Ingest) -> None:
    files = {"items.csv": ITEMS.replace("\na", "\nsep=;"), "interactions.csv": EVENTS.replace(",a", ",sep=;")}
    assert ingest(files).frame("interactions")["item_id"].tolist() == ["sep=;", "b", "c", "sep=;"]


@pytest.mark.parametrize(
    ("number", "rating"),
    [("2,5", 2.5), ("-2,5", -2.5), (",5", 0.5), ("1.234,5", 1234.5), ("1.234", 1234), ("4.5", 4.5), ("2,5E+01", 25)],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_decimal_commas(ingest: Ingest, number: str, rating: float, suffix: str) -> None:
    rows = [{"user_id": "u", "item_id": "a", "timestamp": str(time), "rating": number} for time in range(4)]
    log = "".join(json.dumps(row) + "\n" for row in rows)
    if suffix == "csv":
        log = pd.DataFrame(rows).to_csv(index=False, sep=";")
    files = {"items.csv": ITEMS, f"interactions-{number}.{suffix}": log}
    form = {"decimal": ",", "separator": ";"}
    for bound, n in ((rating, 4), (rating + 0.01, 0)):
        settings = {"interactions_file": f"interactions-{number}.{suffix}", "interactions_format": form}
        if n:
            assert ingest(files, min_rating=bound, **settings).counts["n_interactions"] == n
        else:
            with pytest.raises(DataError, match="no interaction is left"):
                ingest(files, min_rating=bound, **settings)


def test_decimal_commas_of_times_are_named_and_read(ingest: Ingest) -> None:
    log = "user_id;item_id;timestamp\n" + "".join(
        f"u;{item};4536{9 - time},{time}\n" for time, item in enumerate("abca")
    )
    files = with_log(log)
    with pytest.raises(
        DataError, match=r"'45369,0' is not a number or an ISO date; set ingest\.interactions_format\.decimal"
    ):
        ingest(files, interactions_format={"separator": ";"})
    artifact = ingest(files, interactions_format={"separator": ";", "decimal": ","})
    assert artifact.frame("interactions")["timestamp"].tolist() == [45366300, 45367200, 45368100, 45369000]


def test_empty_rows_of_a_spreadsheet_are_left_out(ingest: Ingest) -> None:
    files = {"items.csv": ITEMS + ",\n", "interactions.csv": EVENTS + ",,\n"}
    assert ingest(files).counts["n_interactions"] == 4
