"""Generated catalogues and logs of any size, with patterns that a good recommender finds.

    python -m tsrec.data.synthetic FOLDER --items 1000000 --users 1000000 --events 20000000

writes `items.parquet` and `interactions.parquet`, which `ingest.source=tables` reads without further settings. Items
have categories, and their popularity follows Zipf's law. Each user likes three categories. In a category every other
item is a refill for the one before it: after that item, half of the users' next events are its refill. Titles name the
category and the refills. Memory grows with items and users, not with events.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tsrec.columns import Columns as C
from tsrec.errors import ConfigError

_FOLLOWS, _LIKES = 0.5, 0.8  # share of events: the refill, after an item that has one; of the others, a liked category
_TASTES = 3  # categories that a user likes
_ACTIVITY = 0.7  # standard deviation of the logarithm of users' activity
_START_MS, _YEAR_MS = 1_704_067_200_000, 365 * 86_400_000  # from 2024-01-01
_ROWS = 100_000  # of a batch
_BRANDS, _SHARED_BY = 7, 3  # seven brands for every three neighbouring categories
_PLACE_NAMES = "garden kitchen office school travel bath bedroom workshop bicycle boat camping toddler"
_THING_NAMES = "lamp table bag brush bottle chair clock blanket basket mirror ladder shelf knife radio glove tent"
_STYLE_NAMES = "oak steel cotton glass copper bamboo linen marble leather cork"
_PLACES, _THINGS, _STYLES = (names.split() for names in (_PLACE_NAMES, _THING_NAMES, _STYLE_NAMES))
_SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]


def generate(folder: Path, n_items: int, n_users: int, n_events: int, seed: int = 1) -> None:
    """Write a catalogue and a log of exactly these sizes. Every user has an event. Same arguments, same bytes.

    Raises:
        ConfigError: a size is not positive, or there are fewer events than users.
    """
    if min(n_items, n_users) < 1 or n_events < n_users:
        raise ConfigError(f"{n_items:,} items, {n_users:,} users, {n_events:,} events: each user needs an event")
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    n_categories = max(1, round(n_items**0.5))
    place = np.argsort(np.arange(n_items) % n_categories, kind="stable")  # items by category, the popular ones first
    category = place % n_categories
    item_ids = _ids("B", random.permutation(n_items))
    _write(folder / "items.parquet", _item_rows(item_ids, place, n_categories))
    _write(folder / "interactions.parquet", _event_rows(item_ids, 1 / (1 + place), category, n_users, n_events, random))


def _item_rows(item_ids: pa.Array, place: np.ndarray, n_categories: int) -> Iterator[dict[str, object]]:
    """Batches of the catalogue; `place` (N,) is each item's place in the order of popularity."""
    for start in range(0, len(place), _ROWS):
        titles, brands, categories = [], [], []
        for number in place[start : start + _ROWS].tolist():
            step, category = divmod(number, n_categories)
            pair, is_refill = divmod(step, 2)
            brand = _word(category // _SHARED_BY * _BRANDS + pair % _BRANDS).title()
            series = _word(pair * n_categories + category).title()
            thing = f"{_PLACES[category % len(_PLACES)]} {_THINGS[category // len(_PLACES) % len(_THINGS)]}"
            cycle = category // (len(_PLACES) * len(_THINGS))
            categories.append(f"{thing}s {cycle + 1}" if cycle else f"{thing}s")
            titles.append(f"{brand} {series} {_STYLES[pair % len(_STYLES)]} {thing}{', refill' * is_refill}")
            brands.append(brand)
        ids = item_ids[start : start + _ROWS]
        yield {C.ITEM: ids, C.TITLE: titles, C.BRAND: brands, C.CATEGORIES: categories}


def _event_rows(
    item_ids: pa.Array,
    weight: np.ndarray,
    category: np.ndarray,
    n_users: int,
    n_events: int,
    random: np.random.Generator,
) -> Iterator[dict[str, object]]:
    """Batches of the log in order of time. `weight` and `category` are (N,); items are sorted by category."""
    n_items = len(weight)
    up_to = np.append(0, np.cumsum(weight))  # sum of the weights of all items before each
    first = np.searchsorted(category, np.arange(category[-1] + 2))  # first item of each category
    is_leader = ((np.arange(n_items) - first[category]) % 2 == 0) & (np.append(category[1:], -1) == category)
    follower = np.append(np.where(is_leader, np.arange(1, n_items + 1), -1), -1)
    latest = np.full(n_users, n_items, dtype=np.int32)  # newest item of each user; `n_items` stands for none
    tastes = category[_drawn(up_to, random.random((n_users, _TASTES)), 0, n_items)].astype(np.int32)
    activity = np.append(0, np.cumsum(random.lognormal(sigma=_ACTIVITY, size=n_users)))
    user_ids = _ids("A", random.permutation(n_users))
    for start in range(0, n_events, size := min(_ROWS, n_users)):
        event = np.arange(start, min(start + size, n_events))
        n_joined, before = (_n_joined(n, n_users, n_events) for n in (event + 1, event))
        is_first = n_joined > before
        user = np.where(is_first, n_joined - 1, _drawn(activity, random.random(len(event)), 0, n_joined))
        liked = tastes[user, random.integers(_TASTES, size=len(event))]
        any_item = random.random(len(event)) >= _LIKES
        low, high = np.where(any_item, 0, first[liked]), np.where(any_item, n_items, first[liked + 1])
        item = _drawn(up_to, random.random(len(event)), low, high)
        follows = random.random(len(event)) < _FOLLOWS
        for rows in _by_occurrence(user):  # events of one user in one batch are handled one after the other
            after = follower[latest[user[rows]]]
            item[rows] = np.where(follows[rows] & (after >= 0), after, item[rows])
            latest[user[rows]] = item[rows]
        time = _START_MS + ((event + random.random(len(event))) * (_YEAR_MS / n_events)).astype(np.int64)
        yield {C.USER: user_ids.take(pa.array(user)), C.ITEM: item_ids.take(pa.array(item)), C.TIMESTAMP: time}


def _n_joined(n: np.ndarray, n_users: int, n_events: int) -> np.ndarray:
    """How many users the first `n` events have. Half of the users join with the first events, the others evenly."""
    half = (n_users + 1) // 2
    return np.minimum(n, half + (n_users - half) * n // n_events)


def _drawn(up_to: np.ndarray, uniform: np.ndarray, low: np.ndarray | int, high: np.ndarray | int) -> np.ndarray:
    """Items drawn by weight from `low` to before `high`; `up_to` (N + 1,) is the sum of weights before each item."""
    found = np.searchsorted(up_to, up_to[low] + uniform * (up_to[high] - up_to[low]), side="right") - 1
    return np.minimum(found, high - 1)  # where a sum was rounded up


def _by_occurrence(values: np.ndarray) -> list[np.ndarray]:
    """Indices into `values` by occurrence: first those of first occurrences, then of second ones, and so on."""
    order = np.argsort(values, kind="stable")
    new = np.append(True, values[order][1:] != values[order][:-1])
    occurrence = np.arange(len(values)) - np.maximum.accumulate(np.where(new, np.arange(len(values)), 0))
    return np.split(order[np.argsort(occurrence, kind="stable")], np.cumsum(np.bincount(occurrence))[:-1])


def _ids(letter: str, numbers: np.ndarray) -> pa.Array:
    return pa.array([f"{letter}{number:09d}" for number in numbers.tolist()])


def _word(number: int) -> str:
    syllables: list[str] = []
    while number or len(syllables) < 2:
        number, syllable = divmod(number, len(_SYLLABLES))
        syllables.append(_SYLLABLES[syllable])
    return "".join(syllables)


def _write(path: Path, batches: Iterator[dict[str, object]]) -> None:
    first = pa.table(next(batches))
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for batch in batches:
            writer.write_table(pa.table(batch, schema=first.schema))


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(prog="python -m tsrec.data.synthetic", description=generate.__doc__)
    parser.add_argument("folder", type=Path)
    for name, default in (("items", 1_000), ("users", 1_000), ("events", 20_000), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    try:
        generate(asked.folder, asked.items, asked.users, asked.events, asked.seed)
    except ConfigError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
