from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tsrec.config import Config, canonical
from tsrec.store import canonical_json, file_sha256, fingerprint

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SETTINGS = st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=4)
MARKS = st.dictionaries(
    st.sampled_from(["ingest", "embed", "sids"]), st.text("0123456789abcdef", min_size=1), max_size=3
)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(inner) for inner in value] if isinstance(value, list) else value


@given(SETTINGS, MARKS, MARKS)
def test_the_order_of_keys_does_not_matter(
    config: dict[str, Any], parents: dict[str, str], raw: dict[str, str]
) -> None:
    mark = fingerprint("sids", 1, config, parents, raw)
    assert mark == fingerprint("sids", 1, reversed_keys(config), reversed_keys(parents), reversed_keys(raw))
    assert len(mark) == 16 and int(mark, 16) >= 0


@given(SETTINGS, VALUES, st.data())
def test_any_other_value_gives_another_fingerprint(config: dict[str, Any], value: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(config)))
    assume(canonical_json(value) != canonical_json(config[name]))
    assert fingerprint("sids", 1, config, {}, {}) != fingerprint("sids", 1, {**config, name: value}, {}, {})


def test_every_part_of_the_identity_counts() -> None:
    marks = {
        fingerprint("sids", 1, {"a": 1}, {"ingest": "0"}, {"f": "0"}),
        fingerprint("embed", 1, {"a": 1}, {"ingest": "0"}, {"f": "0"}),
        fingerprint("sids", 2, {"a": 1}, {"ingest": "0"}, {"f": "0"}),
        fingerprint("sids", 1, {"a": 1}, {"ingest": "1"}, {"f": "0"}),
        fingerprint("sids", 1, {"a": 1}, {"embed": "0"}, {"f": "0"}),
        fingerprint("sids", 1, {"a": 1}, {"ingest": "0"}, {"f": "1"}),
        fingerprint("sids", 1, {"a": 1}, {"ingest": "0"}, {"g": "0"}),
        fingerprint("sids", 1, {"a": "1"}, {"ingest": "0"}, {"f": "0"}),
        fingerprint("sids", 1, {"b": 1}, {"ingest": "0"}, {"f": "0"}),
    }
    assert len(marks) == 9


def test_what_json_has_no_word_for_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


def test_how_a_stage_runs_does_not_enter_its_fingerprint() -> None:
    changed = Config.model_validate(
        {
            "store": "s3://bucket/store",
            "ingest": {"source": "tables", "path": "/elsewhere"},
            "keywords": {"shard_items": 7},
            "finetune": {"gradient_checkpointing": True},
            "decode": {"batch_tokens": 8, "shard_users": 9},
        }
    )
    assert canonical(changed) == canonical(Config.model_validate({"ingest": {"source": "tables"}}))
    assert "shard_items" not in canonical(changed)["keywords"]


def test_what_a_stage_computes_does() -> None:
    assert canonical(Config.model_validate({"finetune": {"epochs": 6.0}})) == canonical(
        Config.model_validate({"finetune": {"epochs": 6}})
    )


def test_a_folder_is_hashed_by_names_and_content_not_by_place(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place / "in").mkdir(parents=True)
        (tmp_path / place / "in" / "x.txt").write_text("x")
        (tmp_path / place / "y.txt").write_text("y")
    first = file_sha256(tmp_path / "a")
    assert first == file_sha256(tmp_path / "b")
    (tmp_path / "b" / "y.txt").rename(tmp_path / "b" / "z.txt")
    assert file_sha256(tmp_path / "b") != first
