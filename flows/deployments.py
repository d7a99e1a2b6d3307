"""What `tsrec serve` serves: a deployment of each flow for each profile, registered so that the UI's changes stay.

A deployment is named by its profile: `train/industrial`. Its form starts from that profile. Registering it again
changes the form, and leaves schedules and pauses alone: those are made in the UI.
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
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from tsrec import __version__
from tsrec.config import Config
from tsrec.errors import ConfigError

TAG = "tsrec"


@dataclass(frozen=True)
class ServedFlow:
    """A flow that every profile gets a deployment of; its parameter `config` is the configuration.

    `entrypoint` is its module and name, `about` what the UI says of the deployment.
    """

    entrypoint: str
    about: str

    def load(self) -> Flow[..., Any]:
        """Import the flow."""
        module, _, name = self.entrypoint.rpartition(".")
        flow: Flow[..., Any] = getattr(importlib.import_module(module), name)
        return flow


FLOWS = (
    ServedFlow("flows.train.train", "The whole pipeline. Stages whose artifact exists show as Cached."),
    ServedFlow("flows.refresh.refresh", "New data, taken up by what the champion was made from."),
    ServedFlow("flows.ablation.ablation", "What each part of the method is worth: variants on the same targets."),
    ServedFlow("flows.recommend.recommend", "Lists for many users by a finished model, as Parquet parts."),
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


def register(client: SyncPrefectClient, config: Config) -> dict[UUID, str]:
    """Make or refresh the deployments of one profile; their ids, and their names as the UI shows them.

    Raises:
        ConfigError: a deployment of that name belongs to another profile.
    """
    return dict(_register(client, served, config) for served in FLOWS)


def _register(client: SyncPrefectClient, served: ServedFlow, config: Config) -> tuple[UUID, str]:
    flow = served.load()
    full_name = f"{flow.name}/{deployment_name(config)}"
    form: dict[str, Any] = {
        "version": __version__,
        "description": served.about,
        "parameters": {"config": config.model_dump(mode="json")},
        "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        "entrypoint": served.entrypoint,
        "path": str(Path.cwd()),
        "tags": [TAG],
    }
    known = _find(client, full_name)
    if known is None:
        flow_id = client.create_flow_from_name(flow.name)
        return client.create_deployment(flow_id=flow_id, name=deployment_name(config), **form), full_name
    other = (known.parameters.get("config") or {}).get("profile", "")
    if other != config.profile:
        raise ConfigError(
            f"the deployment {full_name} belongs to the profile {other or '(none)'}; give this one another name in its "
            "field `profile` (--set profile=NAME), or delete that deployment in the UI"
        )
    client.update_deployment(known.id, DeploymentUpdate(**form))  # what is not named here stays: schedules, pauses
    return known.id, full_name


def _find(client: SyncPrefectClient, full_name: str) -> DeploymentResponse | None:
    with contextlib.suppress(ObjectNotFound):
        return client.read_deployment_by_name(full_name)
    return None
