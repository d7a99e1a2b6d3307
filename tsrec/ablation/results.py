"""An ablation from plan to files: what is measured becomes Parquet, Markdown and PNG in one folder."""

from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

import pandas as pd
import pyarrow as pa

from tsrec import permissions
from tsrec.ablation.markdown import as_markdown
from tsrec.ablation.running import BuiltAblation
from tsrec.ablation.statistics import DATASET, SEED, VARIANT, comparison_table, runs_table, worth_table
from tsrec.errors import LostRunsError
from tsrec.store.work_files import write_parquet, write_text_whole, write_whole

_HISTORY = "history"  # the task whose loss on valid is that of recommending


@dataclass(frozen=True)
class AblationResults:
    """A finished ablation: its `folder`, the page as text, the pictures, and why runs failed, by run."""

    folder: Path
    page: str
    pictures: tuple[Path, ...]
    n_runs: int
    failures: dict[str, str]

    def check(self) -> None:
        """Raise LostRunsError where runs failed, with the first reason."""
        if self.failures:
            run, why = next(iter(self.failures.items()))
            raise LostRunsError(
                f"{len(self.failures)} of {self.n_runs} runs failed, the first of them {run}: {why}\n"
                f"what the others gave stands in {self.folder.absolute()}; the same command tries the failed ones again"
            )


def write_results(built: BuiltAblation) -> AblationResults:
    """Write into the ablation's folder, each file whole; those of an earlier call are replaced.

    `table.md` the page to paste; `table.parquet` of `comparison_table`; `worth.parquet` of `worth_table`;
    `runs.parquet` of `runs_table`; `curves.parquet` the training logs; `METHOD.png` and `METHOD-differences.png` for
    every method, `curves.png`.
    """
    from tsrec.ablation.plots import curves_plot, differences_plot, figures_plot  # matplotlib: planning does without

    plan, measured = built.plan, built.measured
    runs = runs_table(plan, measured, built.failures)
    comparison, curves = comparison_table(plan, measured), _curves(built)
    worth = worth_table(plan, measured)
    page = as_markdown(plan, comparison, worth, runs, built.failures)
    folder = permissions.writable_folder("out", plan.ablation.folder)
    for name, table in (("table", comparison), ("worth", worth), ("runs", runs), ("curves", curves)):
        _write(folder / f"{name}.parquet", table)
    pictures = {"curves": curves_plot(plan, curves)}
    for method in plan.methods:
        pictures[method] = figures_plot(plan, comparison, runs, method)
        if len(plan.ablation.variants) > 1:
            pictures[f"{method}-differences"] = differences_plot(plan, comparison, method)
    paths = {folder / f"{name}.png": content for name, content in pictures.items()}
    for path, content in paths.items():
        write_whole(path, methodcaller("write_bytes", content))
    write_text_whole(folder / "table.md", page)
    failures = {run.label: why for run, why in built.failures.items()}
    return AblationResults(folder, page, tuple(paths), len(plan.runs), failures)


def _write(path: Path, table: pd.DataFrame) -> None:
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    write_whole(path, lambda temporary: write_parquet(arrow, temporary))


def _curves(built: BuiltAblation) -> pd.DataFrame:
    """All training logs, with dataset, variant and seed in front, and `loss_per_item`: the loss of the history task
    times the tokens of a SID, so that SIDs of different length can be compared."""
    logs = []
    for run, metrics in built.measured.items():
        log = metrics.log.assign(
            loss_per_item=(metrics.log["loss"] * metrics.n_levels).where(metrics.log["task"] == _HISTORY)
        )
        logs.append(log.assign(**{DATASET: run.dataset, VARIANT: run.variant, SEED: run.seed}))
    if not logs:
        return pd.DataFrame(columns=[DATASET, VARIANT, SEED, "step", "split", "task", "loss", "loss_per_item"])
    curves = pd.concat(logs, ignore_index=True)
    first = [DATASET, VARIANT, SEED]
    return curves[first + [name for name in curves.columns if name not in first]]
