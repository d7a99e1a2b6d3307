"""Example users of the report: the history of each, the recommended list, and why each item is in it."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tsrec.columns import LLM, Split
from tsrec.columns import Columns as C
from tsrec.recommenders.explain import most_similar_item
from tsrec.sid.space import format_sid
from tsrec.store import Artifact

N_USERS = 12  # few enough to read, enough to see different histories

_SEED = 1
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

    Args:
        parents: the artifacts of `ingest`, `fuse`, `sids` and `sa_init`.
        n_users: how many users; fewer where there are not so many.

    Returns:
        `users`: one entry a user; `n_hits`: how many of their lists hold the next item; `n_targets`: the number of all
        test targets that are listed, and `hit_rate`: the share of their lists that hold the next item.
    """
    events = parents["ingest"].frame("interactions", [C.USER, C.ITEM, C.POSITION])
    lists = parents["fuse"].frame("recommendations")
    lists = lists[(lists[C.SPLIT] == Split.TEST.value) & (lists[C.RANK] <= _SHOWN)]
    titles = parents["ingest"].frame("items").set_index(C.ITEM)[C.TITLE]
    titles = titles.map(lambda title: textwrap.shorten(title, _TITLE_CHARS, placeholder=" …")).to_dict()
    codes = parents["sids"].frame("item_sids").set_index(C.ITEM)[C.CODES].map(tuple).to_dict()
    semantics = parents["sa_init"].frame("token_semantics")
    keywords = {(int(r.level), int(r.code)): list(r.keywords) for r in semantics.itertuples(index=False)}
    targets = lists[[C.USER, C.POSITION]].drop_duplicates()
    shown = targets.sample(frac=1, random_state=_SEED).drop_duplicates(C.USER).head(n_users)

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
        "n_targets": len(targets),
        "hit_rate": len(lists.merge(events, on=[C.USER, C.POSITION, C.ITEM])) / max(len(targets), 1),
    }


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
