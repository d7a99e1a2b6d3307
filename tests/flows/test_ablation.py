"""The flow `ablation`: the same runs as Prefect tasks, and its form; a failed variant fails it when all is written."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.testing.utilities import prefect_test_harness
from prefect.utilities.callables import parameter_schema

from flows.ablation import ablation as flow
from tests.ablation.conftest import GRID
from tsrec.config import Ablation, AblationVariant, load_grid
from tsrec.errors import LostRunsError


def test_the_flow_compares_finds_and_says_what_failed(shop_settings: list[str], tmp_path: Path) -> None:
    settings = [*shop_settings, "finetune.epochs=1", f"store={tmp_path / 'store'}"]
    asked, (config,) = load_grid(GRID, settings, out=str(tmp_path / "out"), seeds=(1,))
    wild = AblationVariant(name="wild", set=("finetune.learning_rate=1e30", "finetune.warmup_steps=0"))
    with_wild = Ablation.model_validate(asked.model_dump() | {"variants": (*asked.variants, wild)})
    with prefect_test_harness(server_startup_timeout=120):
        assert flow(config, asked) == str(tmp_path / "out")
        first = (tmp_path / "out" / "table.md").read_text()
        with pytest.raises(LostRunsError, match="1 of 3 runs failed, the first of them shop, wild, seed 1"):
            flow(config, with_wild)
        with get_client(sync_client=True) as client:
            shown = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["ablation-demo"])))
    assert "| wild | failed |" in (tmp_path / "out" / "table.md").read_text()
    assert len(shown) == 2 and any(str(artifact.data).startswith(first) for artifact in shown)
    assert all("![curves](data:image/png;base64," in str(artifact.data) for artifact in shown)


def test_the_form_of_the_flow_starts_with_the_papers_claim() -> None:
    schema = parameter_schema(flow).model_dump()
    default = Ablation.model_validate(schema["properties"]["ablation"]["default"])
    assert [variant.name for variant in default.variants] == [
        "SA-Init + TS-Align",
        "SA-Init alone",
        "TS-Align alone",
        "neither",
    ]
    for section in ("Ablation", "AblationVariant"):
        form = schema["definitions"][section]
        assert form["additionalProperties"] is False
        assert all(field.get("description") for field in form["properties"].values())
