"""No text is paid for twice in a store, whatever the run, the data set or the item's id."""

from pathlib import Path

import pandas as pd
import pytest

from tests.keys import key_of
from tsrec.keywords import STAGE
from tsrec.store import Artifact, ArtifactStore

from .conftest import ChatServer, Reply, teacher_of
from .test_stage import openai_config

pytestmark = pytest.mark.usefixtures("allowed")


def _drawn(store: ArtifactStore, items: pd.DataFrame, server: ChatServer, dataset: str) -> Artifact:
    ingest = store.build(key_of("ingest", dataset=dataset), lambda out: out.write_table("items", items))
    config = openai_config(server)
    return store.build(
        key_of("keywords", dataset=dataset), lambda out: STAGE.run(config, {"ingest": ingest}, out).write()
    )


def test_another_data_set_asks_only_for_texts_that_are_new(
    server: ChatServer, items: pd.DataFrame, tmp_path: Path
) -> None:
    store = ArtifactStore(tmp_path)
    first = _drawn(store, items, server, "one")
    server.requests.clear()
    renamed = items.assign(item_id=[f"x{n}" for n in range(6)])  # the same texts under other ids
    renamed.loc[5, "text"] = "Velvet curtain. Keeps the light out."
    second = _drawn(store, renamed, server, "two")
    assert set(server.asked) == {"x5"}
    before, now = (a.table("item_keywords")["keywords"].to_pylist() for a in (first, second))
    assert now[:5] == before[:5] and now[5] == ["word of x5"]
    assert second.table("item_keywords")["source"].to_pylist() == ["openai:tiny"] * 6
    assert second.counts["n_answers_known"] == 5 and second.counts["input_tokens"] == 100


@pytest.mark.parametrize("changed", [{"model": "other"}, {"temperature": 0.5}])
def test_another_teacher_is_asked_anew(
    server: ChatServer, items: pd.DataFrame, tmp_path: Path, changed: dict[str, object]
) -> None:
    paid = tmp_path / "answers.sqlite"
    teacher_of(server, items, paid=paid).draw(items)
    server.requests.clear()
    assert teacher_of(server, items, paid=paid).draw(items).usage == {"n_answers_known": 6}
    assert not server.requests
    teacher_of(server, items, paid=paid, **changed).draw(items)
    assert len(server.requests) == 6


def test_what_only_the_fallback_answered_is_asked_again(
    server: ChatServer, items: pd.DataFrame, tmp_path: Path
) -> None:
    paid = tmp_path / "answers.sqlite"
    server.script["i3"] = [Reply(status=400)]
    teacher_of(server, items, paid=paid, max_retries=0).draw(items)
    server.requests.clear()
    drawn = teacher_of(server, items, paid=paid).draw(items)
    assert set(server.asked) == {"i3"} and drawn.keywords[3] == ["word of i3"]


def test_a_file_that_is_no_database_costs_money_and_no_run(
    server: ChatServer, items: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paid = tmp_path / "answers.sqlite"
    paid.write_bytes(b"half a disk of something else " * 100)
    assert len(teacher_of(server, items, paid=paid).draw(items).keywords) == 6
    assert caplog.text.count("are not kept for other runs") == 1
