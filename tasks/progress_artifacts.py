"""The bars of tsrec as progress artifacts in the UI: one per step of a stage, moved from a thread of its own.

Training never waits for the server: what the thread has not sent yet is replaced by what is newer.
"""

import contextlib
import contextvars
import threading
from collections.abc import Iterator
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.publishing import show_in_ui
from tsrec.machine.progress import observed_by

_SEND_EVERY_S = 2.0


class _Sender(threading.Thread):
    def __init__(self, key: str) -> None:
        super().__init__(name="progress", daemon=True)
        self.key = key
        self.ended = threading.Event()
        self._newest: dict[str, float] = {}
        self._sent: dict[str, tuple[UUID, float]] = {}
        self._context = contextvars.copy_context()  # the run that the artifacts belong to

    def see(self, step: str, done: float, total: float | None) -> None:
        """Note how far a step is; steps whose end is not known are not shown."""
        if total:
            self._newest[step] = min(100.0, round(100 * done / total, 1))

    def run(self) -> None:
        while not self.ended.wait(_SEND_EVERY_S):
            self._context.run(self.send)

    def send(self) -> None:
        """Show what has changed."""
        for step, percent in list(self._newest.items()):
            if self._sent.get(step, (None, None))[1] != percent:
                show_in_ui(self._send_one, step, percent)

    def _send_one(self, step: str, percent: float) -> None:
        if known := self._sent.get(step):
            update_progress_artifact(artifact_id=known[0], progress=percent)
            made = known[0]
        else:
            made = create_progress_artifact(progress=percent, key=self.key, description=step)  # type: ignore[assignment]
        self._sent[step] = (made, percent)


@contextlib.contextmanager
def shown_progress(key: str) -> Iterator[None]:
    """Within it, tsrec's bars are shown as progress artifacts of the current run, under `key`."""
    sender = _Sender(key)
    sender.start()
    try:
        with observed_by(sender.see):
            yield
    finally:
        sender.ended.set()
        sender.join(_SEND_EVERY_S)
        if not sender.is_alive():
            sender.send()
