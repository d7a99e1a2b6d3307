"""Lists that were made lately, so that who asks the same again does not wait: the least recently used go first."""

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key")
Found = TypeVar("Found")


class ListCache(Generic[Key, Found]):
    """At most `entries` lists of one history each, finished or on their way; any thread may ask."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._lock = threading.Lock()
        self._lists: OrderedDict[Key, Future[Found | None]] = OrderedDict()

    def get(self, key: Key) -> "Future[Found | None] | None":
        """The list of `key`, or its promise; None where nobody has asked for it, or the promise was not kept."""
        with self._lock:
            found = self._lists.get(key)
            if found is None:
                return None
            if found.done() and (found.cancelled() or found.exception() or found.result() is None):
                del self._lists[key]
                return None
            self._lists.move_to_end(key)
            return found

    def put(self, key: Key, found: "Future[Found | None]") -> None:
        """Keep a list, or the promise of one."""
        with self._lock:
            self._lists[key] = found
            self._lists.move_to_end(key)
            while len(self._lists) > self._entries:
                self._lists.popitem(last=False)
