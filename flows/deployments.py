"""What `tsrec serve` serves: a deployment of each flow for each profile, registered so that the UI's changes stay.

A deployment is named by its profile: `train/industrial`. Its form starts from that profile. Registering it again
changes the form, and leaves schedules and pauses alone: those are made in the UI. What is made on a schedule as a rule
(a refresh) comes with one that is off.
"""

import contextlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound

from flows.form_schema import default_parameters, form_schema
from flows.parameter_checks import TAG
from flows.schedules import NIGHTLY, parse_cron
from tsrec import __version__
from tsrec.config import Config
from tsrec.errors import ConfigError

_SLUG = "nightly"  # by it the schedule is known again, whatever the UI made of it


@dataclass(frozen=True)
class ServedFlow:
    """A flow that every profile gets a deployment of; its parameter `config` is the configuration.

    `entrypoint` is its module and name, `about` what the UI says of the deployment, `first` the fields at the top of
    its form; one that is `nightly` comes with a schedule, which is off until somebody switches it on.
    """

    entrypoint: str
    about: str
    first: tuple[str, ...] = ()
    nightly: bool = False

    def load(self) -> Flow[..., Any]:
        """Import the flow."""
        module, _, name = self.entrypoint.rpartition(".")
        flow: Flow[..., Any] = getattr(importlib.import_module(module), name)
        return flow


FLOWS = (
    ServedFlow(
        "flows.train.train", "The whole pipeline. Stages whose artifact exists show as Cached.", ("force_from",)
    ),
    ServedFlow(
        "flows.refresh.refresh",
        "New data, taken up by what the champion was made from.",
        ("dataset", "refresh"),
        nightly=True,
    ),
    ServedFlow(
        "flows.ablation.ablation", "What each part of the method is worth: variants on the same targets.", ("ablation",)
    ),
    ServedFlow("flows.recommend.recommend", "Lists for many users by a finished model, as Parquet parts.", ("wish",)),
)


def deployment_name(config: Config) -> str:
    """The last part of the profile's name; without a profile, the data set's."""
    return config.profile.rsplit("/", 1)[-1] or config.dataset


def check_names(configs: Sequence[Config]) -> None:
    """Raise ConfigError where two profiles would share a deployment."""
    names = [deployment_name(config) for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two profiles are called {name!r}; give one of them another name in its field `profile`")


def register(client: SyncPrefectClient, config: Config, schedule: CronSchedule | None = None) -> dict[UUID, str]:
    """Make or refresh the deployments of one profile; their ids, and their names as the UI shows them.

    Args:
        client: of the server.
        config: the profile.
        schedule: what the schedule of refreshes is set to, and switched on; None: it stays as it is, off at first.

    Raises:
        ConfigError: a deployment of that name belongs to another profile.
    """
    return dict(_register(client, served, config, schedule) for served in FLOWS)


def _register(
    client: SyncPrefectClient, served: ServedFlow, config: Config, schedule: CronSchedule | None
) -> tuple[UUID, str]:
    flow = served.load()
    full_name = f"{flow.name}/{deployment_name(config)}"
    form: dict[str, Any] = {
        "version": __version__,
        "description": served.about,
        "parameters": default_parameters(flow, config),
        "parameter_openapi_schema": form_schema(flow, config, served.first),
        "enforce_parameter_schema": True,
        "entrypoint": served.entrypoint,
        "path": str(Path.cwd()),
        "tags": [TAG],
    }
    known: DeploymentResponse | None = None
    with contextlib.suppress(ObjectNotFound):
        known = client.read_deployment_by_name(full_name)
    if known is None:
        flow_id = client.create_flow_from_name(flow.name)
        # In the one call: a death between two would leave a deployment that never gets its schedule. Only for a new
        # one: Prefect removes all schedules of a deployment that is made again, those of the UI too.
        schedules = [_scheduled(schedule or parse_cron(NIGHTLY), schedule is not None)] if served.nightly else []
        made = client.create_deployment(flow_id=flow_id, name=deployment_name(config), schedules=schedules, **form)
        return made, full_name
    other = (known.parameters.get("config") or {}).get("profile", "")
    if other != config.profile:
        raise ConfigError(
            f"the deployment {full_name} belongs to the profile {other or '(none)'}; give this one another name in its "
            "field `profile` (--set profile=NAME), or delete that deployment in the UI"
        )
    client.update_deployment(known.id, DeploymentUpdate(**form))  # what is not named here stays: schedules, pauses
    if served.nightly and schedule:
        _switch_on(client, known, schedule)
    return known.id, full_name


def _switch_on(client: SyncPrefectClient, deployment: DeploymentResponse, schedule: CronSchedule) -> None:
    """Set the schedule that came with a deployment; make it anew where it was removed. Others are left alone."""
    for existing in deployment.schedules:
        if existing.slug == _SLUG:
            client.update_deployment_schedule(deployment.id, existing.id, active=True, schedule=schedule)
            return
    client.create_deployment_schedules(deployment.id, [_scheduled(schedule, active=True)])


def _scheduled(schedule: CronSchedule, active: bool) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=schedule, active=active, slug=_SLUG)
