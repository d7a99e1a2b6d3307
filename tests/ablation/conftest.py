"""The grid that ships for trying things out, on the tiny shop: real runs within seconds."""

from pathlib import Path

import pytest

from tsrec.ablation import AblationPlan, AblationResults, build_ablation, plan_ablation, write_results
from tsrec.config import load_grid

ROOT = Path(__file__).parents[2]
GRID = ROOT / "configs" / "ablations" / "demo.yaml"


@pytest.fixture(scope="session")
def on_shop(shop_settings: list[str]) -> list[str]:
    """Settings of all runs: the shop instead of MovieLens, one layer, a second a run."""
    return [*shop_settings, "finetune.epochs=1", "finetune.evals_per_epoch=2", "decode.beams=10"]


@pytest.fixture(scope="module")
def plan(on_shop: list[str], tmp_path_factory: pytest.TempPathFactory) -> AblationPlan:
    folder = tmp_path_factory.mktemp("ablation")
    return plan_ablation(*load_grid(GRID, [*on_shop, f"store={folder / 'store'}"], out=str(folder / "out")))


@pytest.fixture(scope="module")
def results(plan: AblationPlan) -> AblationResults:
    return write_results(build_ablation(plan))
