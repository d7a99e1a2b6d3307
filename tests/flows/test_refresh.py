"""`tsrec refresh` and the flow: nothing new is Completed with a word, new events make a new champion."""

from pathlib import Path

import pytest

from flows.cli import main
from flows.refresh import refresh
from tsrec import pipeline
from tsrec.config import Config, load_config, with_overrides
from tsrec.store import Artifact, ArtifactStore
from tsrec.store.champions import champion_of

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_the_flow_and_the_command_say_that_nothing_is_new(
    config: Config, artifacts: dict[str, Artifact], shop_settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [part for field in [*shop_settings, f"store={config.store}"] for part in ("--set", field)]
    words = f"nothing new: {artifacts['fuse'].fingerprint}"
    assert main(["refresh", *options, "--no-prefect"]) == 0
    assert words in capsys.readouterr().out
    state = refresh(config, return_state=True)
    assert state.is_completed() and str(state.message).startswith(words)


@pytest.mark.slow
def test_the_flow_takes_new_events_up(
    shop: Path, shop_settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for file in shop.iterdir():
        (data / file.name).write_bytes(file.read_bytes())
    settings = [*shop_settings, f"store={tmp_path / 'store'}", f"ingest.path={data}", "refresh.min_targets=20"]
    settings += ["profile=test/shop", "refresh.gc_keep=1"]
    config, options = load_config(None, settings), [part for field in settings for part in ("--set", field)]
    older = pipeline.run(with_overrides(config, ["evaluate.k=[5, 10]"]))
    first = pipeline.run(config)["fuse"].fingerprint
    with (data / "interactions.csv").open("a", encoding="utf-8") as stream:
        stream.writelines(f"u{user},i{user % 6 + 6},100\n" for user in range(40))
    state = refresh(config, return_state=True)
    assert state.is_completed() and str(state.message).startswith("promoted: ")
    second = champion_of(ArtifactStore(config.store), "shop")
    assert second != first and str(second) in str(state.message)
    left = {artifact.fingerprint for artifact in ArtifactStore(config.store).list()}
    assert older["evaluate"].fingerprint not in left  # an older run of the same profile
    assert {first, second} <= left  # the champion, and the one before
    again = refresh(config, return_state=True)
    assert again.is_completed() and str(again.message).startswith("nothing new: ")
    assert main(["models", "show", *options]) == 0
    assert "against the champion on" in capsys.readouterr().out
