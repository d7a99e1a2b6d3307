"""Keeps the model that serves the data set's champion: looks every few seconds, opens a new one beside the old one."""

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tsrec.errors import in_one_line
from tsrec.recommenders.model_lookup import find_model
from tsrec.serving.live_model import LiveModel
from tsrec.store import ArtifactStore, Lineage
from tsrec.store.champions import SERVED, champion_of, move_names
from tsrec.store.notes import names

logger = logging.getLogger(__name__)

_LOOK_S = 2.0
_MOST_PAUSE_S = 300.0  # between attempts at a champion that cannot be opened


@dataclass
class ChampionFollower:
    """The live model of a data set, and a thread that replaces it.

    `address` is where the store is. It is opened anew at every look: connections do not outlive a fork, and a copy that
    was found damaged may be whole by now. `cache_entries` are a `LiveModel`'s. `model` names one by the first digits of
    its fingerprint, which then stays.
    """

    address: str | Path
    dataset: str
    cache_entries: int
    model: str | None = None
    _live: LiveModel | None = field(default=None, init=False)
    _since: str = field(default="", init=False)
    _last_check: str = field(default="", init=False)
    _problem: str | None = field(default=None, init=False)
    _target: tuple[str, str | None] | None = field(default=None, init=False)
    _seen: list[str] | None = field(default=None, init=False)  # names: while they stay the same, so does the target
    _is_new: bool = field(default=False, init=False)
    _failed: tuple[str, str | None] | None = field(default=None, init=False)
    _again: float = field(default=0.0, init=False)
    _pause_s: float = field(default=_LOOK_S, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    @property
    def live(self) -> LiveModel:
        """The model that serves now."""
        assert self._live is not None, "open() was not called"
        return self._live

    def open(self) -> None:
        """Open the champion, where it is not open yet.

        Raises:
            ArtifactError: the store has no model of the data set, or it cannot be opened.
        """
        if self._live is None:
            self._open()
        else:  # in a process that was forked from the one that opened it, perhaps long ago
            self._look()

    def start(self) -> None:
        """Follow the champion from now on."""
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
        while not self._stopped.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        """Open what is to serve, if that has changed. What cannot be opened is tried again after ever longer pauses."""
        wanted = None
        try:
            store = ArtifactStore(self.address)
            seen = [*move_names(store, self.dataset), *names(store, f"{self.dataset}/{SERVED}/*/manifest*.json")]
            if seen != self._seen or self._is_new:  # a new one may not have been whole: it is read once more
                self._target = self._wanted(store)
            self._is_new, self._seen = seen != self._seen, seen
            wanted = self._target
            if wanted != (self.live.fingerprint, self.live.served):
                if wanted == self._failed and time.monotonic() < self._again:
                    return
                self._open()
            self._problem, self._failed = None, None
        except Exception as error:  # whatever is wrong with a new model or the store, the old one goes on
            self._pause_s = min(2 * self._pause_s, _MOST_PAUSE_S) if wanted == self._failed else _LOOK_S
            self._failed, self._again = wanted, time.monotonic() + self._pause_s
            self._say(in_one_line(error))
        finally:
            self._last_check = _now()

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            logger.warning("%s: %s; %s goes on", self.dataset, problem, self.live.fingerprint)
        self._problem = problem

    def _wanted(self, store: ArtifactStore) -> tuple[str, str | None]:
        """The fingerprint of the model that is to serve, and that of what serves in place of its members."""
        fingerprint = self.live.fingerprint
        if self.model is None:
            fingerprint = champion_of(store, self.dataset) or fingerprint
        served = Lineage(store).newest_of(SERVED, "fuse", fingerprint)
        return fingerprint, served.fingerprint if served else None

    def _open(self) -> None:
        started = time.monotonic()
        lineage = Lineage(ArtifactStore(self.address))
        live = LiveModel(lineage, find_model(lineage, self.dataset, self.model), self.cache_entries)
        live.warm()
        self._problem, self._failed = None, None
        self._live, self._since, self._last_check = live, _now(), _now()
        logger.info("%s: %s serves, opened in %.1f s", self.dataset, live.fingerprint, time.monotonic() - started)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
