"""The flow: what it builds, finds and logs."""

import json
import logging
import sys
from collections import Counter
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ParameterTypeError
from prefect.settings import PREFECT_UI_URL, temporary_settings

from flows.run_logging import drop_deliberate_traceback
from flows.train import train
from flows.tsrec_flow import this_flow_run, tsrec_flow
from tests.flows.prefect_api import wait_for
from tsrec.config import Config, with_overrides
from tsrec.errors import DataError
from tsrec.store import Artifact, ArtifactStore, FlowRun
from tsrec.store.runs import recorded_runs


@pytest.mark.parametrize(("error", "kept"), [(DataError("row 3"), False), (KeyError("a bug"), True)])
def test_only_bugs_keep_their_traceback(error: Exception, kept: bool) -> None:
    try:
        raise error
    except Exception:
        record = logging.LogRecord("prefect.task_runs", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    assert drop_deliberate_traceback(record)
    assert bool(record.exc_info) is kept


@pytest.mark.parametrize("address", ["https://me:tok-123@host/v1", "https://host/v1?api_key=tok-123"])
def test_a_refused_address_is_in_no_log_and_no_message(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ParameterTypeError, match=r"base_url: .*the address must not hold") as error:
        train.validate_parameters({"config": {"keywords": {"openai": {"base_url": address}}}})
    assert "tok-123" not in str(error.value)
    assert "validation failed" in caplog.text and "***" in caplog.text and "tok-123" not in caplog.text


@pytest.mark.parametrize(
    ("ui", "url"),
    [
        ("https://prefect.example", "https://prefect.example/runs/flow-run/{id}"),
        ("https://me:tok-123@prefect.example", None),
    ],
)
@pytest.mark.usefixtures("prefect_server")
def test_a_flow_run_is_known_by_its_page_unless_the_address_holds_a_password(ui: str, url: str | None) -> None:
    @tsrec_flow("named", run_name="named")
    def named() -> FlowRun:
        return this_flow_run()

    with temporary_settings({PREFECT_UI_URL: ui}):
        found = named()
    assert found.url == (url and url.format(id=found.id))


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_builds_what_is_missing_and_finds_the_rest(config: Config, artifacts: dict[str, Artifact]) -> None:
    found = train(config)
    assert found == artifacts
    assert _task_states(len(found)) == {"Cached": len(found)}
    assert _beside_champion() == []  # it is the champion
    with get_client(sync_client=True) as client:
        newest = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0]
    recorded = recorded_runs(ArtifactStore(config.store), config.dataset)[0][-1].flow_run
    assert recorded is not None and recorded.id == str(newest.id)
    other = train(with_overrides(config, ["fuse.trees=5"]))
    assert _task_states(len(found)) == {"Cached": len(found) - 3, "Completed": 3}
    assert other["report"].file("report.html").exists()
    (shown,) = _beside_champion()
    assert "on the same targets" in shown["description"]
    rows = {row["model"]: row for row in json.loads(shown["data"])}
    assert rows["champion"]["fingerprint"] == found["fuse"].fingerprint != rows["this run"]["fingerprint"]
    assert rows["champion"]["n_targets"] == rows["this run"]["n_targets"] and 0 <= rows["this run"]["ndcg@10"] <= 1


def _beside_champion() -> list[dict[str, Any]]:
    with get_client(sync_client=True) as client:
        wanted = {"artifacts": {"key": {"any_": ["champion-shop"]}}}
        found: list[dict[str, Any]] = client.request("POST", "/artifacts/filter", json=wanted).json()
    return found


def _task_states(n_expected: int) -> dict[str, int]:
    """The states of the tasks of the newest run. The server records them from events, a while after they have ended."""
    with get_client(sync_client=True) as client:

        def look() -> list[str] | None:
            (newest,) = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
            own = FlowRunFilter(id=FlowRunFilterId(any_=[newest.id]))
            runs = client.read_task_runs(flow_run_filter=own)
            ended = [str(run.state_name) for run in runs if run.state and run.state.is_final()]
            return ended if len(ended) == n_expected else None

        return Counter(wait_for(look, "the states of the tasks"))
