"""Cron expressions that `tsrec serve` takes, and what they mean."""

from pathlib import Path

import pytest

from flows.cli import main
from flows.schedules import next_moments, parse_cron
from flows.server import Server
from tsrec.errors import ConfigError


@pytest.mark.parametrize("cron", ["0 0 3 * * *", "0 0 3 * * ?", "0 3 * *", "0 0 3 * * ? 2030", ""])
def test_a_cron_of_other_than_five_fields_is_refused(cron: str) -> None:
    with pytest.raises(ConfigError, match=r"fields; write five, without seconds, e\.g\. '0 3 \* \* \*'"):
        parse_cron(cron)


def test_what_is_no_cron_and_no_time_zone_is_said() -> None:
    with pytest.raises(ConfigError, match="no cron expression; it has five fields"):
        parse_cron("at night it should run")
    with pytest.raises(ConfigError, match=r"'0 3 31 2 \*' is never due"):
        parse_cron("0 3 31 2 *")
    for timezone in ("Berlin", "+02:00", ""):
        with pytest.raises(ConfigError, match=r"--timezone '.*': no such time zone; give its IANA name"):
            parse_cron("0 3 * * *", timezone)


def test_a_wrong_schedule_ends_the_command_before_a_server_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setattr(Server, "start", lambda self: pytest.fail("a server was started"))
    for options in (["--schedule", ""], ["--schedule=0 3 * * *", "--timezone", ""], ["--timezone", "UTC"]):
        assert main(["serve", *options]) == 1
        assert capsys.readouterr().err.startswith(("tsrec: the schedule '' has 0 fields", "tsrec: --timezone"))


def test_the_next_moments_are_those_of_the_time_zone() -> None:
    for timezone, names in (("Europe/Berlin", {"CET", "CEST"}), ("UTC", {"UTC"})):
        moments = next_moments(parse_cron("30 5 * * 1-5", timezone))
        assert len(set(moments)) == 3
        for moment in moments:
            day, _, time, zone = moment.split()
            assert day not in ("Sat", "Sun") and time == "05:30" and zone in names
    assert parse_cron("@daily").cron == "@daily"
