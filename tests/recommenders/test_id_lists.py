"""Lists of ids as programs write them: what is a header, why ids are not known, and what is no text."""

from pathlib import Path

import pytest

from tsrec.errors import DataError
from tsrec.recommenders.id_lists import check_unknown_ids, likely_header, read_lines


def _file(folder: Path, content: str | bytes) -> Path:
    file = folder / "ids.txt"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(
    ("content", "header"),
    [
        ("user_id\n500\n501\n", "user_id"),
        ('\ufeff"user_id"\n"500"\n', '"user_id"'),
        ("userId\nanna\nbert\n", "userId"),
        ("ID\nanna\n", "ID"),
        ("Kundennummer\n500\n", "Kundennummer"),
        ("user_id,last_seen\n500,2024-03-01\n", "user_id,last_seen"),
        ("kunde\nanna\n", "kunde"),  # as the raw data call it
        ("david\nanna\nbert\n", None),
        ("500\n501\n", None),
        ("guest\nanna\n500\n", None),
        ("", None),
    ],
)
def test_a_header_is_told_from_an_id(tmp_path: Path, content: str, header: str | None) -> None:
    assert likely_header(_file(tmp_path, content), "kunde") == header


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("500.0", "e.g. '500.0', which is known as '500': the list has them as decimal numbers"),
        ('"500"', "e.g. '\"500\"', which is known as '500': the list has them in quotation marks"),
        ("500,2024-03-01", "which is known as '500': the list has more columns than the id"),
        ('"500";"x"', "which is known as '500': the list has more columns than the id"),
        ('["500", "AB"]', "which is known as '500': the list is written as JSON"),
        ('{"user_id": "500"}', "which is known as '500': the list is written as JSON"),
        ("77", "e.g. '77', which is known as '0077': leading zeros are lost on one side"),
        ("00500", "which is known as '500': leading zeros are lost on one side"),
        ("77.0", "e.g. '77.0', which is known as '0077': leading zeros are lost on one side"),
        ("AB", "e.g. 'AB', which is known as 'ab': letters differ in case"),
        ("x", "e.g. 'x'; known are such as '500'"),
    ],
)
def test_why_an_id_is_not_known(tmp_path: Path, listed: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    known = ["500", "0077", "ab"]
    with pytest.raises(DataError) as error:
        check_unknown_ids("users", tmp_path, [listed], 1, 1, known, 0.5)
    assert f"users: {tmp_path}: 1 of 1 ids are not known, " in str(error.value) and message in str(error.value)
    check_unknown_ids("users", tmp_path, [listed], 1, 2, known, 0.5)  # half of them is not more than half
    assert message in caplog.text


def test_the_cause_is_the_one_that_explains_most(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="as decimal numbers"):
        check_unknown_ids("users", tmp_path, ["A", "1.0", "2.0"], 3, 3, ["a", "1", "2"], 0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("500\n".encode("utf-16"), r"is not written in UTF-8 \(it looks like UTF-16\); save it as a text file"),
        ("500\n".encode("utf-16-le"), "it looks like UTF-16"),
        ("müller\n".encode("latin-1"), "is not written in UTF-8; save it"),
        (b"PK\x03\x04\x14\x00\x06\x00", "is not written in UTF-8; save it"),
    ],
)
def test_what_is_no_text_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_lines(_file(tmp_path, content)))
