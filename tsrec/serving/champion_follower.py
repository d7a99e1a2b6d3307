"""Keeps the model that serves the data set's champion: looks every few seconds, opens a new one beside the old one."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tsrec.errors import in_one_line
from tsrec.recommenders.models import find_model
from tsrec.serving.live_model import LiveModel
from tsrec.store import ArtifactStore, Lineage
from tsrec.store.champions import SERVED, champion_of

logger = logging.getLogger(__name__)

_LOOK_S = 2.0
_MOST_PAUSE_S = 300.0  # between attempts at a champion that cannot be opened


@dataclass
class ChampionFollower:
    """The live model of a data set, and a thread that replaces it; `warm` is called with a new one before it serves.

    `model` names one model by the first digits of its fingerprint, which then stays.
    """

    store: ArtifactStore
    dataset: str
    warm: Callable[[LiveModel], None]
    model: str | None = None
    _live: LiveModel | None = field(default=None, init=False)
    _since: str = field(default="", init=False)
    _last_check: str = field(default="", init=False)
    _problem: str | None = field(default=None, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    @property
    def live(self) -> LiveModel:
        """The model that serves now."""
        assert self._live is not None, "start() was not called"
        return self._live

    def start(self) -> None:
        """Open the champion, and follow it from now on.

        Raises:
            ArtifactError: the store has no model of the data set, or it cannot be opened.
        """
        self._open()
        self._thread = threading.Thread(target=self._follow, name="champion", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Follow no longer. A model that is being opened is not waited for."""
        self._stopped.set()

    def state(self) -> dict[str, Any]:
        """What serves since when (ISO, UTC), when the champion was last looked at, and what kept a newer one out."""
        return {
            "model": self._live.fingerprint if self._live else None,
            "since": self._since,
            "last_check": self._last_check,
            "problem": self._problem,
        }

    def _follow(self) -> None:
        failed, again, pause = None, 0.0, _LOOK_S
        while not self._stopped.wait(_LOOK_S):
            wanted = None
            try:
                wanted = self._wanted()
                if wanted != (self.live.fingerprint, self.live.served):
                    if wanted == failed and time.monotonic() < again:
                        continue
                    self._open()
                self._problem, failed = None, None
            except Exception as error:  # whatever is wrong with a new model or the store, the old one goes on
                pause = min(2 * pause, _MOST_PAUSE_S) if wanted == failed else _LOOK_S
                failed, again = wanted, time.monotonic() + pause
                self._say(in_one_line(error))
            self._last_check = _now()

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            logger.warning("%s: %s; %s goes on", self.dataset, problem, self.live.fingerprint)
        self._problem = problem

    def _wanted(self) -> tuple[str, str | None]:
        """The fingerprint of the model that is to serve, and that of what serves in place of its members."""
        fingerprint = self.live.fingerprint
        if self.model is None:
            fingerprint = champion_of(self.store, self.dataset) or fingerprint
        served = [
            artifact.fingerprint
            for artifact in self.store.list(self.dataset, SERVED)
            if artifact.manifest.key.parents["fuse"] == fingerprint
        ]
        return fingerprint, next(iter(served[-1:]), None)

    def _open(self) -> None:
        started = time.monotonic()
        lineage = Lineage(self.store)
        live = LiveModel(lineage, find_model(lineage, self.dataset, self.model))
        self.warm(live)
        self._live, self._since, self._last_check = live, _now(), _now()
        logger.info("%s: %s serves, opened in %.1f s", self.dataset, live.fingerprint, time.monotonic() - started)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
