"""Files that are being written are waited for, and no longer than needed."""

import os
import threading
import time
from pathlib import Path

import pytest

from tsrec.errors import DataError
from tsrec.refresh.settling import wait_until_settled


def test_old_files_and_those_of_the_future_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, moment in (("old.csv", time.time() - 60), ("future.csv", time.time() + 600)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (moment, moment))
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waits"))
    wait_until_settled(tmp_path.iterdir(), 30)
    wait_until_settled([], 30)


def test_a_file_that_grows_is_waited_for_until_it_stops(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "log.csv"
    file.write_text("user_id")

    def write() -> None:
        for _ in range(4):
            time.sleep(0.2)
            with file.open("a") as stream:
                stream.write("x" * 10)

    writer = threading.Thread(target=write)
    writer.start()
    with caplog.at_level("INFO", logger="tsrec"):
        wait_until_settled([file], 2.0)  # ten times as long as a pause, for a machine that is busy
    writer.join(0)
    assert not writer.is_alive() and file.stat().st_size == 47
    assert caplog.text.count("log.csv has not changed") == 1


def test_a_file_that_goes_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: went away"):
        wait_until_settled([tmp_path / "gone.csv"], 1.0)
