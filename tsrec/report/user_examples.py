"""Example users of the report: the history of each, the recommended list, and why each item is in it."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tsrec.columns import LLM, Split
from tsrec.columns import Columns as C
from tsrec.recommenders.explain import most_similar_item
from tsrec.sid.space import format_sid
from tsrec.store import Artifact
from tsrec.store.parquet_file import open_parquet

N_USERS = 12  # few enough to read, enough to see different histories

_ROWS = 65_536
_SEED = 1
_DRAWS = 50  # targets drawn for each user that is shown: users may have several
_SHOWN = 10  # recent events, and items of the list
_WORDS_PER_TOKEN = 3
_TITLE_CHARS = 90
_PROPOSERS = {
    LLM: "the LLM, which writes semantic IDs",
    "transitions": "counts of what came after the recent items",
    "sasrec": "a small transformer over item ids",
    "item-knn": "items that the same users had",
    "text-similarity": "items whose texts are like those of the recent items",
    "popular": "the items with the most events",
}


def describe_members(members: Sequence[str]) -> list[tuple[str, str]]:
    """Each member of the fusion, and in a few words where its proposals come from."""
    return [(name, _PROPOSERS.get(name, "a further LLM")) for name in members]


def example_users(parents: Mapping[str, Artifact], n_users: int) -> dict[str, Any]:
    """Users drawn at random from the test targets, with a fixed seed, and their lists.

    Lists and events are read in batches: memory does not grow with the number of users, but for one number a target.

    Args:
        parents: the artifacts of `ingest`, `fuse`, `sids` and `sa_init`.
        n_users: how many users; fewer where there are not so many.

    Returns:
        `users`: one entry a user; `n_hits`: how many of their lists hold the next item; `n_targets`: the number of all
        test targets that are listed, and `hit_rate`: the share of their lists that hold the next item.
    """
    n_targets, n_hits_of_all = _count_hits(parents)
    shown = _drawn_targets(parents["fuse"], n_targets, n_users)
    of_them = pc.field(C.USER).isin(pa.array(shown[C.USER], pa.string()))
    interactions, key = parents["ingest"].file("interactions.parquet"), [C.USER, C.ITEM, C.POSITION]
    events = pq.read_table(interactions, columns=key, filters=of_them).to_pandas()
    lists = _shown_rows(pq.read_table(parents["fuse"].file("recommendations.parquet"), filters=of_them))
    titles = parents["ingest"].frame("items", [C.ITEM, C.TITLE]).set_index(C.ITEM)[C.TITLE]
    titles = titles.map(lambda title: textwrap.shorten(title, _TITLE_CHARS, placeholder=" …")).to_dict()
    codes = parents["sids"].frame("item_sids").set_index(C.ITEM)[C.CODES].map(tuple).to_dict()
    semantics = parents["sa_init"].frame("token_semantics")
    keywords = {(int(r.level), int(r.code)): list(r.keywords) for r in semantics.itertuples(index=False)}

    def item(item_id: str) -> dict[str, str]:
        return {"title": titles[item_id], "sid": format_sid(codes[item_id])}

    users = []
    for user, position in shown.itertuples(index=False):
        user_events = events[events[C.USER] == user].sort_values(C.POSITION)
        history = user_events[user_events[C.POSITION] < position][C.ITEM].tolist()
        (next_item,) = user_events[user_events[C.POSITION] == position][C.ITEM]
        user_list = lists[(lists[C.USER] == user) & (lists[C.POSITION] == position)].sort_values(C.RANK)
        picks = [
            {
                **item(row.item_id),
                "rank": row.rank,
                "proposed_by": list(row.proposed_by),
                "is_hit": row.item_id == next_item,
                "why": _why(row.item_id, history, titles, codes, keywords),
            }
            for row in user_list.itertuples(index=False)
        ]
        users.append(
            {
                "user": user,
                "n_events": len(history),
                "history": [item(item_id) for item_id in history[-_SHOWN:]],
                "next": item(next_item),
                "rank": next((pick["rank"] for pick in picks if pick["is_hit"]), None),
                "picks": picks,
            }
        )
    return {
        "users": users,
        "n_hits": sum(user["rank"] is not None for user in users),
        "n_targets": n_targets,
        "hit_rate": n_hits_of_all / max(n_targets, 1),
    }


def _shown_rows(recommendations: pa.Table | pa.RecordBatch) -> pd.DataFrame:
    """The rows of the first ten items of test targets' lists."""
    rows = recommendations.to_pandas()
    return rows[(rows[C.SPLIT] == Split.TEST.value) & (rows[C.RANK] <= _SHOWN)]


def _test_lists(fuse: Artifact) -> Iterator[pd.DataFrame]:
    """The shown rows in batches: target after target, in order of user id and position, each from rank 1 on."""
    columns = [C.SPLIT, C.USER, C.POSITION, C.RANK, C.ITEM]
    for batch in open_parquet(fuse.file("recommendations.parquet")).iter_batches(_ROWS, columns=columns):
        if len(rows := _shown_rows(batch)):
            yield rows


def _count_hits(parents: Mapping[str, Artifact]) -> tuple[int, int]:
    """How many test targets are listed, and how many of their lists hold the next item."""
    key = [C.USER, C.POSITION, C.ITEM]
    interactions = open_parquet(parents["ingest"].file("interactions.parquet"))
    batches = (batch.to_pandas() for batch in interactions.iter_batches(_ROWS, columns=[*key, C.SPLIT]))
    test_events = (batch.loc[batch[C.SPLIT] == Split.TEST.value, key] for batch in batches)
    # Both tables are in order of user id, so they are read side by side.
    ahead = interactions.schema_arrow.empty_table().select(key).to_pandas()
    n_targets = n_hits = 0
    for rows in _test_lists(parents["fuse"]):
        first, last = rows[C.USER].iloc[[0, -1]]
        ahead = ahead[ahead[C.USER] >= first]
        while ahead.empty or ahead[C.USER].iloc[-1] <= last:
            if (more := next(test_events, None)) is None:
                break
            ahead = pd.concat([ahead, more[more[C.USER] >= first]])
        n_targets += int((rows[C.RANK] == 1).sum())
        n_hits += len(rows.merge(ahead, on=key))
    return n_targets, n_hits


def _drawn_targets(fuse: Artifact, n_targets: int, n_users: int) -> pd.DataFrame:
    """User and position of targets drawn at random, at most `n_users`, of as many different users."""
    drawn = np.random.RandomState(_SEED).permutation(n_targets)[: _DRAWS * n_users].copy()
    found, n_before = [], 0
    for rows in _test_lists(fuse):
        targets = rows.loc[rows[C.RANK] == 1, [C.USER, C.POSITION]]
        targets.index = pd.RangeIndex(n_before, n_before + len(targets))
        n_before += len(targets)
        found.append(targets[targets.index.isin(drawn)])
    if not found:
        return pd.DataFrame(columns=[C.USER, C.POSITION])
    return pd.concat(found).loc[drawn].drop_duplicates(C.USER).head(n_users)


def _why(
    item: str,
    history: Sequence[str],
    titles: Mapping[str, str],
    codes: Mapping[str, Sequence[int]],
    keywords: Mapping[tuple[int, int], Sequence[str]],
) -> tuple[str, str, str]:
    """Why an item fits a history: a phrase, the SID tokens that it is about, and their keywords."""
    item_codes = codes[item]
    other, n_shared = most_similar_item(item, history, codes)
    if item in history:
        phrase, n_shown = "The user has had it before:", len(item_codes)
    elif other is not None:
        phrase, n_shown = f"Like {titles[other]}: both have", n_shared
    else:
        phrase, n_shown = "Shares no first token with a recent item. Its own:", 1
    words = [
        word for level in range(n_shown) for word in keywords.get((level, item_codes[level]), [])[:_WORDS_PER_TOKEN]
    ]
    return phrase, format_sid(item_codes[:n_shown]), ", ".join(dict.fromkeys(words))
