"""Work files: kept where they are whole, made again where a kill, a power cut or a bad disk damaged them."""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsrec.store.work_files import is_whole, kept_table, remove, seal, write_text_whole, write_whole

TABLE = pa.table({"item": ["a", "b", "c"], "score": [1.0, 2.0, 3.0]}).replace_schema_metadata({"usage.tokens": "7"})


class Make:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> pa.Table:
        self.calls += 1
        return TABLE


def test_a_kept_table_is_made_once_and_read_back_with_its_metadata(tmp_path: Path) -> None:
    make = Make()
    for _ in range(2):
        found = kept_table(tmp_path / "0-3.parquet", make)
        assert found.equals(TABLE) and found.schema.metadata == {b"usage.tokens": b"7"}
    assert make.calls == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-3.parquet", "0-3.parquet.seal"]


@settings(max_examples=60)
@given(st.sampled_from(["0-3.parquet", "0-3.parquet.seal"]), st.data())
def test_whatever_happens_to_a_shard_or_its_seal_the_table_comes_back(name: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make, path, victim = Make(), Path(folder) / "0-3.parquet", Path(folder) / name
        kept_table(path, make)
        content = victim.read_bytes()
        kind = data.draw(st.sampled_from(["cut", "flip", "zeros", "gone", "other"]))
        place = data.draw(st.integers(0, len(content) - 1))
        damaged = {
            "cut": content[:place],
            "flip": content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
            "zeros": bytes(len(content)),
            "other": data.draw(st.binary(max_size=40)),
        }
        victim.unlink() if kind == "gone" else victim.write_bytes(damaged[kind])
        assert kept_table(path, make).equals(TABLE)
        calls = make.calls
        assert kept_table(path, make).equals(TABLE) and make.calls == calls  # whole again


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"0-3.parquet": 1}', '{"0-3.parquet": {"n_bytes": 1}}'])
def test_a_seal_of_another_form_is_no_seal(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    make, path = Make(), tmp_path / "0-3.parquet"
    kept_table(path, make)
    (tmp_path / "0-3.parquet.seal").write_text(content)
    with caplog.at_level(logging.WARNING):
        kept_table(path, make)
    assert make.calls == 2
    assert f"{path}: its seal is" in caplog.text


def test_a_kill_while_writing_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_text_whole(path, "old")

    def die(temporary: Path) -> None:
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, die)
    assert path.read_text() == "old"
    write_whole(path, lambda temporary: temporary.write_text("new"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"] and path.read_text() == "new"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "in" / "b.bin").unlink(), "lacks in/b.bin"),
        (lambda folder: (folder / "a.json").write_text(""), "a.json has 0 bytes instead of 2"),
        (lambda folder: (folder / "a.json").write_text("[]"), "a.json does not match its hash"),
        (lambda folder: (folder / "complete.json").unlink(), "was never finished"),
        (lambda folder: (folder / "complete.json").write_text(""), "its seal is not readable"),
    ],
)
def test_a_sealed_folder_is_whole_until_something_is_lost(
    tmp_path: Path, damage: Callable[[Path], object], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "checkpoint-4"
    (folder / "in").mkdir(parents=True)
    (folder / "a.json").write_text("{}")
    (folder / "in" / "b.bin").write_bytes(b"weights")
    seal(folder)
    assert set(json.loads((folder / "complete.json").read_text())) == {"a.json", "in/b.bin"}
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    assert is_whole(folder) and is_whole(moved) and caplog.text == ""
    damage(folder)
    assert not is_whole(folder)
    assert f"{folder}: {message}" in caplog.text
    remove(folder)
    assert not folder.exists() and not is_whole(folder)


def test_a_text_that_several_write_at_once_is_that_of_one_of_them(tmp_path: Path) -> None:
    texts = [letter * 2000 for letter in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            list(pool.map(lambda text: write_text_whole(tmp_path / "note.json", text), texts))
            assert (tmp_path / "note.json").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]
