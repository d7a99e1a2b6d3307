"""Most popular: the same list for everyone, by train events."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tsrec.config import Section
from tsrec.recommenders.member import FitInputs
from tsrec.recommenders.ranking import Filter, Ranked, empty_lists, fill_with_popular

_FILE = "popular.safetensors"


@dataclass(frozen=True)
class Popular:
    """`counts` (N,) int64: train events of every item."""

    counts: np.ndarray

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """Items in order of their counts, which are the scores; ties go to the lower number."""
        ranked = fill_with_popular(empty_lists(len(pasts), k), np.argsort(-self.counts, kind="stable"), allow)
        scores = np.where(ranked.items >= 0, self.counts[np.maximum(ranked.items, 0)], ranked.scores)
        return Ranked(ranked.items, scores.astype(np.float32))


def fit(inputs: FitInputs) -> None:
    """Count the train events of every item."""
    save_file({"counts": inputs.catalogue.train_counts}, inputs.folder / _FILE)


def load(folder: Path, _: Section) -> Popular:
    """Open what `fit` saved."""
    return Popular(load_file(folder / _FILE)["counts"])
