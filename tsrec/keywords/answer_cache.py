"""A cache of the teacher's answers, by text and teacher settings, so that no text is paid for twice by any run.

One SQLite file a store. A run needs it for nothing else. Where it cannot be read or written (a network folder without
locks, a full disk), one warning says so and the teacher is asked.
"""

import hashlib
import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_WAIT_S = 30.0  # for another run that writes


class AnswerCache:
    """One teacher's answers by text.

    Args:
        path: the SQLite file; made where it is missing.
        teacher: all that an answer depends on beside the text: address, model, temperature, instructions.
    """

    def __init__(self, path: Path, teacher: tuple[Any, ...]) -> None:
        self._path, self._teacher = path, json.dumps(teacher)
        self._database: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Another thread: in a notebook the teacher runs in one of its own.
            self._database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            self._database.execute("CREATE TABLE IF NOT EXISTS answers (mark TEXT PRIMARY KEY, keywords TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def get(self, text: str) -> list[str] | None:
        """The keywords of a text, or None where it was never answered."""
        if self._database is None:
            return None
        try:
            row = self._database.execute("SELECT keywords FROM answers WHERE mark = ?", (self._mark(text),)).fetchone()
            return json.loads(row[0]) if row else None
        except (sqlite3.Error, ValueError) as error:
            self._give_up(error)
            return None

    def put(self, text: str, keywords: list[str]) -> None:
        """Keep an answer; it is on the disk when this returns."""
        if self._database is None:
            return
        try:
            self._database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?)", (self._mark(text), json.dumps(keywords))
            )
        except sqlite3.Error as error:
            self._give_up(error)

    def _mark(self, text: str) -> str:
        return hashlib.sha256(json.dumps([self._teacher, text]).encode()).hexdigest()

    def _give_up(self, error: Exception) -> None:
        logger.warning("%s: %s; answers of the teacher are not kept for other runs", self._path, error)
        self._database = None
