"""Serving the deployments of some profiles, on a Prefect server that is started where none is reachable."""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

from flows.server import Server, check_exposure, check_home, share_password
from tasks.masking import masked, masked_in_one_line
from tsrec.config import Config, load_config
from tsrec.errors import ConfigError, TsrecError

if TYPE_CHECKING:
    from prefect.client.schemas.schedules import CronSchedule


def serve(options: Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C; what was started here (server, runs) ends with it, within seconds.

    Each profile gets a deployment of every flow, whose form starts from it. A server that PREFECT_API_URL or Prefect's
    profile names is used instead of one of ours, and waited for.

    Raises:
        ConfigError: two profiles have one name, the schedule or its time zone cannot be read, or a server would listen
            to others and ask nobody.
        TsrecError: no server can be reached or started, or it refuses the deployments, or what answers is none, or
            Prefect's home cannot be written.
    """
    configs = [load_config(profile, options.set) for profile in options.profiles or [None]]
    if options.timezone is not None and options.schedule is None:
        raise ConfigError("--timezone says where the times of --schedule are meant; give both")
    check_home()
    from flows.schedules import parse_cron

    timezone = "UTC" if options.timezone is None else options.timezone
    cron = None if options.schedule is None else parse_cron(options.schedule, timezone)
    signal.signal(signal.SIGTERM, _exit)  # so that `finally` runs while nothing is served yet
    from prefect.context import refresh_global_settings_context

    server = Server(options.host, options.port, list(dict.fromkeys(config.store for config in configs)))
    if server.may_start:
        check_exposure(options.host, options.without_auth)
    share_password()
    os.environ["PREFECT_API_URL"] = server.url
    refresh_global_settings_context()  # Prefect has read its environment
    try:
        server.start()
        _run(server, configs, options.limit, cron)
    finally:
        server.stop()


def _run(server: Server, configs: Sequence[Config], limit: int, cron: "CronSchedule | None") -> None:
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    from flows import deployments
    from flows.runner import Runner
    from flows.schedules import next_moments

    deployments.check_names(configs)
    names: dict[UUID, str] = {}
    try:
        with get_client(sync_client=True) as client:
            for config in configs:
                names |= deployments.register(client, config, cron)
    except (httpx.HTTPError, PrefectException) as error:
        raise TsrecError(
            f"the Prefect server at {masked(server.url)} did not take the deployments: {masked_in_one_line(error)}"
        ) from error
    runner = Runner(names, limit, server.revive)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runner.stopping.set())
    listed = "".join(f"  {name}\n" for name in names.values())
    if cron:
        listed += f"Refreshes run next: {', '.join(next_moments(cron))}\n"
    print(
        f"\nPrefect UI: {server.ui_url}\n{listed}Open Deployments, one of them, Run: its form is the configuration. "
        "Ctrl-C ends.\n",
        flush=True,
    )
    runner.run()


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
