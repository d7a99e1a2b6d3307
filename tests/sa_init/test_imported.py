"""Imported token semantics are checked entry by entry; errors name the file and the token."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsrec.errors import DataError
from tsrec.sa_init.imported import import_semantics
from tsrec.sid.space import SidSpace

SPACE = SidSpace((2, 1))
IN_USE = np.array([3, 0, 3])
GLUE = {"token": "<a_0>", "description": "Adhesives.", "keywords": ["glue", "epoxy", "bonding"]}
PARTS = {"token": "<b_0>", "description": "Parts.", "keywords": ["part"]}
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "industrial"


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_every_token_of_the_space_gets_its_meaning_in_flat_order(tmp_path: Path) -> None:
    outside = {"token": "<a_9>", "description": "", "keywords": []}
    path = write(tmp_path / "semantics.json", [PARTS, GLUE, outside])
    meanings, left_out = import_semantics(path, SPACE, IN_USE, n_keywords=2)
    assert [meaning.token for meaning in meanings] == ["<a_0>", "<a_1>", "<b_0>"]
    assert [meaning.keywords for meaning in meanings] == [("glue", "epoxy"), (), ("part",)]
    assert [meaning.description for meaning in meanings] == ["Adhesives.", "", "Parts."]
    assert [meaning.n_items for meaning in meanings] == [3, 0, 3]
    assert left_out == {"n_keywords_cut": 1, "n_entries_outside": 1}


def test_gzip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "semantics.json.gz"
    path.write_bytes(gzip.compress(json.dumps([GLUE, PARTS]).encode()))
    assert import_semantics(path, SPACE, IN_USE, 8)[0][0].keywords == ("glue", "epoxy", "bonding")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"token": "<a_0>"}, r"semantics\.json: expected a list of entries, found dict"),
        ([GLUE], r"semantics\.json: no entry for <b_0>, which items use \(1 such tokens\)"),
        ([GLUE, PARTS, GLUE], r"semantics\.json, entry 3: a second entry for token <a_0>"),
        ([GLUE, "<b_0>"], r"semantics\.json, entry 2: expected an object with a \"token\""),
        ([{**GLUE, "token": "a_0"}], r"semantics\.json, entry 1: 'a_0' is not a SID token"),
        ([{**GLUE, "keywords": "glue"}], r"entry 1, token <a_0>: \"keywords\" has to be a list of strings"),
        ([{**GLUE, "keywords": [1]}], r"entry 1, token <a_0>: \"keywords\" has to be a list of strings"),
        ([{**GLUE, "description": 7}], r"entry 1, token <a_0>: \"description\" has to be a string"),
    ],
)
def test_bad_entries_are_named(tmp_path: Path, entries: Any, message: str) -> None:
    path = write(tmp_path / "semantics.json", entries)
    with pytest.raises(DataError, match=message):
        import_semantics(path, SPACE, IN_USE, 8)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        import_semantics(tmp_path / "none.json", SPACE, IN_USE, 8)


@pytest.mark.parametrize("content", [b"not json", gzip.compress(b"[]" * 500, mtime=0)[:-9]])
def test_unreadable_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("semantics.json.gz" if content.startswith(b"\x1f") else "semantics.json")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"semantics\.json.*: not readable as JSON"):
        import_semantics(path, SPACE, IN_USE, 8)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"{PUBLISHED.name} benchmark data not beside the project")
def test_the_published_semantics_fit_the_published_sids() -> None:
    space = SidSpace((256, 256, 256))
    path = PUBLISHED / "published_token_semantics.json.gz"
    meanings, left_out = import_semantics(path, space, np.zeros(space.n_tokens, dtype=int), n_keywords=64)
    assert sum(bool(meaning.keywords) for meaning in meanings) == 560
    assert left_out == {"n_keywords_cut": 0, "n_entries_outside": 0}
