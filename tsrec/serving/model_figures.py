"""What people ask about a live model itself: its figures, how it became the champion, how far its data have moved."""

from functools import cached_property
from typing import Any

import pandas as pd

from tsrec.columns import ALL
from tsrec.columns import Columns as C
from tsrec.config import DriftConfig
from tsrec.errors import ArtifactError
from tsrec.evaluate.summary import headline, member_contributions
from tsrec.refresh.drift import measure_drift, rebuild_reasons
from tsrec.serving.catalogue_views import plain
from tsrec.serving.live_model import LiveModel
from tsrec.store import Artifact, base_role
from tsrec.store.champions import moves_of
from tsrec.store.runs import recorded_runs


class ModelFigures:
    """Of one live model; all but the champion's moves is read once."""

    def __init__(self, live: LiveModel) -> None:
        self.live = live

    def all(self) -> dict[str, Any]:
        """All of them, as JSON has them."""
        live = self.live
        moves = moves_of(live.lineage_now().store, live.dataset)
        return {
            "fingerprint": live.fingerprint,
            "dataset": live.dataset,
            "created": live.fuse.manifest.created,
            "methods": list(live.methods),
            "n_items": live.catalogue.n_items,
            "n_users": len(live.users.users),
            **self._measured,
            **self._moved,
            "moves": [move.model_dump(exclude={"dataset", "mark"}) for move in moves],
            "settings": live.settings,
            "report": self._report is not None,
            "flow_run": self._flow_run,
        }

    def report(self) -> str | None:
        """The page that the model's run wrote of it; None where there is none."""
        report = self._report
        if report is None:
            return None
        return self.live.lineage_now().verified(report).file("report.html").read_text(encoding="utf-8")

    @property
    def _report(self) -> Artifact | None:
        return self.live.lineage_now().newest_of("report", "fuse", self.live.fingerprint)

    @cached_property
    def _flow_run(self) -> dict[str, Any] | None:
        """The newest flow run that the store knows to have used the model."""
        live = self.live
        runs, _ = recorded_runs(live.lineage_now().store, live.dataset)
        mine = [run.flow_run for run in runs if run.flow_run and live.fuse.manifest.key.path in run.artifacts]
        return mine[-1].model_dump() if mine else None

    @cached_property
    def _measured(self) -> dict[str, Any]:
        evaluate = self.live.evaluation
        if evaluate is None:
            return {"metrics": [], "worth": [], "headline": None}
        metrics, differences = evaluate.frame("metrics"), evaluate.frame("differences")
        return {
            "metrics": _rows(metrics[metrics[C.SLICE] == ALL].drop(columns=C.SLICE)),
            "worth": _rows(member_contributions(differences)),
            "headline": headline(differences),
        }

    @cached_property
    def _moved(self) -> dict[str, Any]:
        ingest = self.live.ingest
        before = {"ingest": self._extended(ingest) or ingest}
        drift = measure_drift(before, {"ingest": ingest, "sids": self.live.sids})
        return {"drift": plain(drift), "rebuild": rebuild_reasons(drift, DriftConfig())}

    def _extended(self, ingest: Artifact) -> Artifact | None:
        """The data of the model that this one was refreshed from; None where there is none, or it is gone."""
        role = base_role("ingest")
        try:
            return self.live.lineage_now().parent(ingest, role) if role in ingest.manifest.key.parents else None
        except ArtifactError:
            return None


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [plain(row) for row in table.to_dict("records")]
