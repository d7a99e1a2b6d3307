"""One run's figures: every target's metrics from the lists in the store, and its training log. Decodes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsrec.ablation.ablation_plan import AblationRun
from tsrec.columns import FUSED, LLM, LLMS, Split
from tsrec.errors import DataError
from tsrec.evaluate.scoring import METRICS, target_values
from tsrec.llm.trained_llm import TRAINING_STAGES, trained_in
from tsrec.recommenders import DECODE, FUSE
from tsrec.recommenders.candidates import read_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.fuse_stage import ablation_method
from tsrec.recommenders.targets import select_targets
from tsrec.store import Artifact

SHOWN = ("hr", "ndcg")
_STAGE_OF = {LLM: DECODE.name, FUSED: FUSE.name}


@dataclass(frozen=True)
class RunMetrics:
    """A run's figures.

    `users` (T,) says whose target each row is; `values` maps every method to (T, M) float64, a column for each of
    `names` (metric, k); `log` is that of fine-tuning, `seconds` what training took, RL included, `model` the
    fingerprint of the artifact that holds the LLM; a SID has `n_levels` tokens; `without_llm` (T, M) is the fusion of
    all members but LLMs, where it was fitted for these targets.
    """

    users: np.ndarray
    names: list[tuple[str, int]]
    values: dict[str, np.ndarray]
    log: pd.DataFrame
    seconds: float
    model: str
    n_levels: int
    without_llm: np.ndarray | None = None

    @property
    def summary(self) -> str:
        """The figures at the largest cut-off, for a log."""
        largest = max(k for _, k in self.names)
        shown = [
            f"{method} {metric.upper()}@{k} {mean:.4f}"
            for method, values in self.values.items()
            for (metric, k), mean in zip(self.names, values.mean(axis=0), strict=True)
            if k == largest
        ]
        return f"{', '.join(shown)}; {self.seconds / 60:.1f} minutes of training"


def measure(run: AblationRun, artifacts: Mapping[str, Artifact]) -> RunMetrics:
    """A run's figures from its artifacts by planned name.

    Raises:
        DataError: the split has no targets.
        ArtifactError: lists are of other targets than ingest has.
    """
    _, histories = read_catalogue(artifacts["ingest"])
    targets, split = select_targets(histories, run.config.recommend), Split(run.config.evaluate.split)
    rows = np.flatnonzero(targets.is_in_split(split))
    if not len(rows):
        raise DataError(f"{run.dataset}: no {split.value} targets; see ingest.split")
    cut_offs = run.config.evaluate.k
    columns = [(metric, k) for k in cut_offs for metric in METRICS]
    kept = [number for number, (metric, _) in enumerate(columns) if metric in SHOWN]

    def values_of(stage: str, method: str) -> np.ndarray:
        lists = read_candidates(artifacts[stage], method, targets, rows, max(cut_offs)).items
        return target_values(lists, targets.items[rows], cut_offs)[:, kept]

    llmless = ablation_method(LLMS if run.config.members.llms else LLM)
    # `fuse` ranks without each member on test alone.
    has_llmless = split is Split.TEST and FUSE.name in artifacts and artifacts[FUSE.name].has(llmless)
    return RunMetrics(
        users=targets.users[rows],
        names=[columns[number] for number in kept],
        values={method: values_of(stage, method) for method, stage in _STAGE_OF.items() if stage in artifacts},
        without_llm=values_of(FUSE.name, llmless) if has_llmless else None,
        log=artifacts["finetune"].frame("training_log"),
        seconds=sum(artifacts[stage].manifest.seconds for stage in TRAINING_STAGES if stage in artifacts),
        model=artifacts[trained_in(artifacts)].fingerprint,
        n_levels=len(artifacts["sids"].json("sid_space")["sizes"]),
    )
