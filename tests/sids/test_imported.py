"""SIDs made elsewhere: read as they are, or refused with the file and the item."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsrec.errors import CodebookError, DataError
from tsrec.sids.imported import read_sids

GOOD = {"i1": ["<a_1>", "<b_0>"], "i2": ["<a_0>", "<b_7>"], "i3": ["<a_1>", "<b_0>"]}
PUBLISHED = Path(__file__).parents[2] / "../shared/data/industrial/published_sids.json.gz"


def write(folder: Path, content: Any) -> Path:
    path = folder / "sids.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_codes_come_in_the_order_of_the_items_and_may_be_shared(tmp_path: Path) -> None:
    codes = read_sids(write(tmp_path, GOOD), ["i3", "i2", "i1"])
    np.testing.assert_array_equal(codes, [[1, 0], [0, 7], [1, 0]])


def test_a_gzip_file_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "sids.json.gz"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    np.testing.assert_array_equal(read_sids(path, ["i1", "i2"]), [[1, 0], [0, 7]])


def test_sids_of_other_items_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_sids(write(tmp_path, GOOD), ["i1"])
    assert "2 SIDs of items that the catalogue lacks are left out" in caplog.text


def test_an_item_without_a_sid_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(CodebookError, match=r"sids\.json: 2 of 3 items of the catalogue have no SID.*'i0'"):
        read_sids(path, ["i0", "i1", "i9"])


@pytest.mark.parametrize("odd", ["i1", "i2", "i3"])
def test_an_item_with_another_number_of_levels_is_named_wherever_it_stands(tmp_path: Path, odd: str) -> None:
    path = write(tmp_path, {**GOOD, odd: ["<a_1>", "<b_0>", "<c_2>"]})
    with pytest.raises(
        CodebookError, match=rf"sids\.json: item '{odd}' has the SID <a_1><b_0><c_2>; most items have 2"
    ):
        read_sids(path, list(GOOD))


@pytest.mark.parametrize("tokens", [["<b_1>", "<a_0>"], ["<a_1>", "<a_2>"], ["<a_1>", "<c_2>"]])
def test_levels_out_of_order_are_refused(tmp_path: Path, tokens: list[str]) -> None:
    with pytest.raises(CodebookError, match=r"item 'i2'.*levels must run from <a_"):
        read_sids(write(tmp_path, {**GOOD, "i2": tokens}), list(GOOD))


@pytest.mark.parametrize("tokens", [["<a_1>", "b_2"], ["a1", "b2"]])
def test_a_token_that_cannot_be_read_is_named(tmp_path: Path, tokens: list[str]) -> None:
    with pytest.raises(DataError, match=r"sids\.json: item 'i2': .* is not a SID token"):
        read_sids(write(tmp_path, {**GOOD, "i2": tokens}), list(GOOD))


@pytest.mark.parametrize("tokens", [None, 3, "<a_1><b_2>", [], [1, 2], {"a": 1}])
def test_something_other_than_a_list_of_tokens_is_named(tmp_path: Path, tokens: Any) -> None:
    with pytest.raises(DataError, match=r"sids\.json: item 'i2': expected a list of tokens"):
        read_sids(write(tmp_path, {**GOOD, "i2": tokens}), list(GOOD))


def test_a_code_too_high_to_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodebookError, match=r"item 'i2' has code 32768; the highest possible is 32767"):
        read_sids(write(tmp_path, {**GOOD, "i2": ["<a_0>", "<b_32768>"]}), list(GOOD))


def test_a_list_instead_of_an_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sids\.json: expected an object item_id -> list of tokens, found list"):
        read_sids(write(tmp_path, [GOOD]), ["i1"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.json", b'{"i1": ["<a_1>"'),
        ("latin.json", b'{"i\xe9": ["<a_1>"]}'),
        ("plain.json.gz", b"{}"),
        ("cut.json.gz", gzip.compress(json.dumps(GOOD).encode(), mtime=0)[:-12]),
        ("flipped.json.gz", gzip.compress(json.dumps(GOOD).encode(), mtime=0)[:10] + b"\xff" * 30),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: not readable as JSON"):
        read_sids(tmp_path / name, ["i1"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        read_sids(tmp_path / "none.json", ["i1"])


def test_the_published_industrial_sids_are_read() -> None:
    if not PUBLISHED.exists():
        pytest.skip("the published SIDs are not on this machine")
    item_ids = sorted(json.loads(gzip.decompress(PUBLISHED.read_bytes())))
    codes = read_sids(PUBLISHED, item_ids)
    assert codes.shape == (3686, 3)
    assert len(np.unique(codes, axis=0)) == 3670
    assert len(set(codes[:, 0])) == 48
