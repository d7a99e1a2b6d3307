"""Every user's events by user id: made once per model, so that a request reads no table."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tsrec.columns import Columns as C
from tsrec.errors import ArtifactError
from tsrec.serving.prefix_range import prefix_range
from tsrec.store import Artifact
from tsrec.store.parquet_file import open_parquet

_ROWS = 65_536


@dataclass(frozen=True)
class UserHistories:
    """`users` (U,), in order; user u's events are the item numbers items[offsets[u]:offsets[u + 1]], oldest first."""

    users: pa.StringArray
    offsets: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, ingest: Artifact) -> "UserHistories":
        """Of the `interactions` of an artifact, which lie user by user, each user's in their order.

        Raises:
            ArtifactError: they do not.
        """
        index = pd.Index(ingest.frame("items", [C.ITEM])[C.ITEM])
        items, known, starts = [np.empty(0, np.int32)], [pa.array([], pa.string())], [np.empty(0, np.int64)]
        n_rows, last = 0, None
        for batch in open_parquet(ingest.file("interactions.parquet")).iter_batches(_ROWS, columns=[C.USER, C.ITEM]):
            users = batch[C.USER]
            items.append(index.get_indexer(batch[C.ITEM].to_numpy(zero_copy_only=False)).astype(np.int32))
            runs = pc.run_end_encode(users)  # a run for each user, and one more where a batch cuts a user's
            ends = np.asarray(runs.run_ends, dtype=np.int64)
            begins = np.concatenate([[0], ends[:-1]])
            goes_on = int(runs.values[0] == last)
            known.append(runs.values.slice(goes_on))
            starts.append(n_rows + begins[goes_on:])
            n_rows, last = n_rows + len(users), runs.values[-1]
        users = pa.concat_arrays(known)
        if not pc.all(pc.less(users[:-1], users[1:]), min_count=0).as_py():
            raise ArtifactError(f"{ingest.path}: its interactions do not lie user by user; run ingest again")
        return cls(users, np.append(np.concatenate(starts), n_rows), np.concatenate(items))

    def of_user(self, user_id: str) -> np.ndarray:
        """(H,) item numbers of a user, oldest first; none where there is no such user."""
        first, end = self._beginning(user_id)
        if first == end or self.users[first].as_py() != user_id:
            return self.items[:0]
        return self.items[self.offsets[first] : self.offsets[first + 1]]

    def beginning(self, text: str, most: int) -> list[tuple[str, int]]:
        """Users whose ids begin so, in their order, with how many events each has."""
        first, end = self._beginning(text)
        ids = self.users[first : min(first + most, end)].to_pylist()
        return list(zip(ids, np.diff(self.offsets[first : first + len(ids) + 1]).tolist(), strict=True))

    def _beginning(self, text: str) -> tuple[int, int]:
        """From where to where the users stand whose ids begin so."""
        return prefix_range(text, len(self.users), lambda place: self.users[place].as_py())
