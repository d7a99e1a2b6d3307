"""The engine behind an app: opened beside the requests, and tried again where it cannot be."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from tsrec.errors import TsrecError, in_one_line
from tsrec.serving.catalogue_views import CatalogueViews
from tsrec.serving.engine import Engine
from tsrec.serving.live_model import LiveModel
from tsrec.serving.problems import RefusedError

logger = logging.getLogger(__name__)

_AGAIN_S = 5.0
_OPENING = "the model is being opened"


class Service:
    """An engine that an app asks. `when_open` is called once, with the first model."""

    def __init__(self, engine: Engine, when_open: Callable[[LiveModel], None] | None = None) -> None:
        self.engine, self.when_open = engine, when_open
        self._problem: str | None = _OPENING
        self._stopped = threading.Event()

    def start(self) -> None:
        """Open the model without waiting for it. A thread that ends with the process: SIGTERM waits for no opening."""
        threading.Thread(target=self._open, name="open model", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._stopped.set()
        if self._problem is None:
            self.engine.stop()

    def state(self) -> dict[str, Any]:
        """Whether a model is open, which, and what kept one from being opened."""
        ready = self._problem is None
        return {"ready": ready, **(self.engine.state() if ready else {"model": None, "problem": self._problem})}

    def check_open(self) -> None:
        """Raise RefusedError (503) where no model is open yet."""
        if self._problem is not None:
            raise RefusedError(503, self._problem, headers={"Retry-After": f"{_AGAIN_S:.0f}"})

    def live(self) -> LiveModel:
        """The model that answers now. Raises RefusedError (503) where none is open yet."""
        self.check_open()
        return self.engine.live

    def views(self) -> CatalogueViews:
        """What people ask about that model. Raises RefusedError (503) where none is open yet."""
        return self.live().once(CatalogueViews)

    def _open(self) -> None:
        while not self._stopped.is_set():
            try:
                self.engine.start()
            except Exception as error:  # whatever it is, it is told to who asks, and may be mended meanwhile
                self._problem = in_one_line(error)
                logger.warning("%s: not open yet: %s", self.engine.dataset, self._problem, exc_info=_unless_told(error))
                self._stopped.wait(_AGAIN_S)
                continue
            self._problem = None
            if self.when_open:
                self.when_open(self.engine.live)
            return


def _unless_told(error: Exception) -> Exception | None:
    return None if isinstance(error, TsrecError) else error
