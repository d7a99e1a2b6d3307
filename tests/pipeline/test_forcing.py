"""A forced run makes a stage and what follows again, each artifact whole, and goes on where a kill ended it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.keys import key_of
from tsrec import pipeline
from tsrec.config import Section
from tsrec.errors import ConfigError
from tsrec.pipeline import PlannedStage, forcing
from tsrec.stage import Stage
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

Hook = Callable[[ArtifactWriter], None]


class Chain:
    """Stages a -> b -> c and an unrelated x: each writes how often it was made."""

    def __init__(self) -> None:
        self.made = dict.fromkeys("axbc", 0)
        self.hooks: dict[str, Hook] = {}
        follows = {"a": (), "x": (), "b": ("a",), "c": ("b", "x")}
        self.stages = {name: self._planned(name, parents) for name, parents in follows.items()}

    def _planned(self, name: str, parents: tuple[str, ...]) -> PlannedStage:
        def run(config: Section, parents: Mapping[str, Artifact], out: ArtifactWriter) -> None:
            self.made[name] += 1
            self.hooks.get(name, lambda _: None)(out)
            out.write_json("made", self.made[name])

        stage = Stage(name=name, version=1, config=lambda _: Section(), parents=lambda c: parents, run=run)
        key = key_of(name, f"{ord(name):08x}", "shop")
        return PlannedStage(name, stage, Section(), key, {parent: parent for parent in parents})

    def run(self, store: ArtifactStore, force_from: str | None = None) -> dict[str, int]:
        stages = forcing.force(self.stages, force_from, store) if force_from else self.stages
        artifacts: dict[str, Artifact] = {}
        for name, planned in stages.items():
            artifacts[name] = planned.found_in(store) or pipeline.build(planned, store, artifacts)
        if force_from:
            forcing.finish(stages, force_from, store)
        return {name: artifact.json("made") for name, artifact in artifacts.items()}


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


def test_the_stage_and_what_follows_are_made_again_and_nothing_else(chain: Chain, store: ArtifactStore) -> None:
    assert chain.run(store) == {"a": 1, "x": 1, "b": 1, "c": 1}
    assert chain.run(store, "b") == {"a": 1, "x": 1, "b": 2, "c": 2}
    assert chain.run(store) == {"a": 1, "x": 1, "b": 2, "c": 2}  # what was forced is what is found
    assert chain.run(store, "c") == {"a": 1, "x": 1, "b": 2, "c": 3}
    assert list(store.leftovers()) == [] and len(store.list()) == 4


def test_the_old_artifact_stands_until_the_new_one_is_whole(chain: Chain, store: ArtifactStore) -> None:
    chain.run(store)
    seen: list[int] = []
    chain.hooks["b"] = lambda out: seen.append(store.find(chain.stages["b"].key).json("made"))  # type: ignore[union-attr]
    chain.run(store, "b")
    assert seen == [1]


def test_killed_and_run_again_it_goes_on_where_it_was(chain: Chain, store: ArtifactStore) -> None:
    chain.run(store)

    def die(out: ArtifactWriter) -> None:
        (out.work / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    chain.hooks["c"] = die
    with pytest.raises(KeyboardInterrupt):
        chain.run(store, "b")
    chain.hooks.clear()
    assert chain.run(store) == {"a": 1, "x": 1, "b": 2, "c": 1}  # unforced, all is there
    work: list[str] = []
    chain.hooks["c"] = lambda out: work.append((out.work / "checkpoint").read_text())
    assert chain.run(store, "b") == {"a": 1, "x": 1, "b": 2, "c": 3}  # b was made again before the kill
    assert work == ["half"]
    chain.hooks.clear()
    assert chain.run(store, "b") == {"a": 1, "x": 1, "b": 3, "c": 4}  # finished: to ask again means all of it


def test_an_unknown_stage_is_refused_before_anything_is_made(chain: Chain, store: ArtifactStore) -> None:
    with pytest.raises(ConfigError, match="no stage 'finetun' to start from in this run; it has a, x, b, c"):
        chain.run(store, "finetun")
    assert chain.made == dict.fromkeys("axbc", 0)


def test_in_a_shared_store_the_new_one_replaces_the_old_for_all(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path / 'remote'}"
    monkeypatch.setenv("HOME", str(tmp_path / "first"))
    chain.run(ArtifactStore(url))
    assert chain.run(ArtifactStore(url), "b")["c"] == 2
    assert chain.run(ArtifactStore(url))["c"] == 2
    monkeypatch.setenv("HOME", str(tmp_path / "second"))  # another machine: an empty mirror
    assert chain.run(ArtifactStore(url)) == {"a": 1, "x": 1, "b": 2, "c": 2}


@pytest.mark.parametrize("note", [b"9999-01-01T00:00:00+00:00", b"", b"\xff", b"yesterday", b"2020-01-01"])
def test_a_note_that_is_no_moment_gone_by_is_made_anew(chain: Chain, store: ArtifactStore, note: bytes) -> None:
    """Others may write to a store: their moment to come would make everything again at every start, without end."""
    chain.run(store)
    path = store.root / ".forced" / "shop" / f"{chain.stages['c'].key.fingerprint}-b.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(note)

    def die(_: ArtifactWriter) -> None:
        raise KeyboardInterrupt

    chain.hooks["c"] = die
    with pytest.raises(KeyboardInterrupt):
        chain.run(store, "b")
    chain.hooks.clear()
    assert chain.run(store, "b") == {"a": 1, "x": 1, "b": 2, "c": 3} and not path.exists()
