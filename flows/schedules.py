"""Cron expressions: which are taken, on the command line and by the server, and when one is due next."""

import asyncio
import contextlib

from prefect.client.schemas.schedules import CronSchedule
from prefect.server.schemas.schedules import CronSchedule as ServersSchedule
from pydantic import ValidationError

from tsrec.errors import ConfigError

NIGHTLY = "0 3 * * *"
_EXAMPLE = f"e.g. {NIGHTLY!r}: every day at three"


def parse_cron(cron: str, timezone: str = "UTC") -> CronSchedule:
    """The schedule that a cron expression means in a time zone (its IANA name). Raises ConfigError."""
    check_cron(cron)
    with contextlib.suppress(ValidationError):
        if timezone:
            return CronSchedule(cron=cron, timezone=timezone)
    raise ConfigError(f"--timezone {timezone!r}: no such time zone; give its IANA name, e.g. Europe/Berlin")


def check_cron(cron: str) -> None:
    """Raise ConfigError where a cron expression has not five fields, or where no day ever matches it.

    Prefect takes a sixth one for seconds at the end. Quartz and others have seconds at the beginning: of their daily at
    three, `0 0 3 * * *`, Prefect makes every second of a minute on the third of each month. Of a day that never comes
    (`0 3 31 2 *`) it makes nothing, and then nothing of the other schedules of that deployment.
    """
    n = len(cron.split())
    if n != len(NIGHTLY.split()) and not cron.startswith("@"):  # @daily
        raise ConfigError(f"the schedule {cron!r} has {n} fields; write five, without seconds, {_EXAMPLE}")
    try:
        schedule = ServersSchedule(cron=cron)
    except ValidationError:
        raise ConfigError(f"the schedule {cron!r} is no cron expression; it has five fields, {_EXAMPLE}") from None
    try:
        asyncio.run(schedule.get_dates(1))
    except ValueError:
        raise ConfigError(f"the schedule {cron!r} is never due; no such day comes") from None


def next_moments(schedule: CronSchedule, n: int = 3) -> list[str]:
    """When a schedule is due next, as its time zone has it."""
    dates = asyncio.run(ServersSchedule(cron=schedule.cron, timezone=schedule.timezone).get_dates(n))
    return [f"{date:%a %Y-%m-%d %H:%M %Z}" for date in dates]
