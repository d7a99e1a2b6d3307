"""Cron expressions that `tsrec serve` takes, and what they mean."""

import pytest

from flows.schedules import next_moments, parse_cron
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
    with pytest.raises(ConfigError, match="--timezone 'Berlin': no such time zone; give its IANA name"):
        parse_cron("0 3 * * *", "Berlin")


def test_the_next_moments_are_those_of_the_time_zone() -> None:
    for timezone, names in (("Europe/Berlin", {"CET", "CEST"}), ("UTC", {"UTC"})):
        moments = next_moments(parse_cron("30 5 * * 1-5", timezone))
        assert len(set(moments)) == 3
        for moment in moments:
            day, _, time, zone = moment.split()
            assert day not in ("Sat", "Sun") and time == "05:30" and zone in names
    assert parse_cron("@daily").cron == "@daily"
