"""Five weekly refreshes against a rebuild: what each costs, what it is worth, and what happens to new items.

    python benchmarks/refresh.py configs/industrial.yaml --set ingest.path=FOLDER --out WORK

The events of FOLDER are put in order (by time; `--order user` where times are places within a user only: users' events
are then spread over time by a seeded draw that keeps each user's order). The first model sees the first 85 %, every
week brings 3 % more: the newest week is test, the one before it valid, all before that train. Items come with their
first event. Each week `tsrec refresh` takes the new files up and judges; afterwards a rebuild from nothing is measured
on the last week's targets too. Weeks that are done are kept in WORK; a killed run goes on.

Prints a line a week and the comparison with the rebuild. Costs are seconds of processor time, children included.
"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsrec import pipeline, refresh
from tsrec.columns import ALL, FUSED, Split
from tsrec.columns import Columns as C
from tsrec.config import Config, load_config, with_overrides
from tsrec.evaluate.scoring import score
from tsrec.recommenders.candidates import read_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.targets import select_targets
from tsrec.refresh.bases import bases_of
from tsrec.store import Artifact, ArtifactStore, Lineage

WEEK, WEEKS = 0.03, 5


def ordered(folder: Path, order: str) -> pd.DataFrame:
    """All events, oldest first."""
    events = pd.read_csv(next(folder.glob("interactions.csv*")), dtype={"user_id": str, "item_id": str})
    if order == "user":
        place = events.groupby("user_id").cumcount()
        length = events.groupby("user_id")["item_id"].transform("size")
        shift = np.random.default_rng(1).random(events["user_id"].nunique())[events["user_id"].factorize()[0]]
        events["timestamp"] = (place + shift) / length
    events = events.sort_values("timestamp", kind="stable")
    return events[["user_id", "item_id"]].assign(timestamp=np.arange(len(events)))


def write_week(events: pd.DataFrame, items: pd.DataFrame, week: int, folder: Path) -> None:
    """The files as they lie after `week` weeks; 0: what the first model sees."""
    whole = len(events)
    end = round(whole * (1 - WEEK * (WEEKS - week)))
    seen = events.iloc[:end].copy()
    seen["split"] = Split.TRAIN.value
    seen.iloc[end - round(2 * WEEK * whole) :, -1] = Split.VALID.value
    seen.iloc[end - round(WEEK * whole) :, -1] = Split.TEST.value
    first = events.groupby("item_id")["timestamp"].min()
    later = items["item_id"].map(first) >= end
    folder.mkdir(parents=True, exist_ok=True)
    seen.to_csv(folder / "interactions.csv", index=False)
    items[~later].to_json(folder / "items.jsonl", orient="records", lines=True)


def cost() -> float:
    """Seconds of processor time of this process and its children so far."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def kept(path: Path, make: Any) -> dict[str, Any]:
    """What `make` returned with its cost; read from `path` where it was made before."""
    if not path.exists():
        before, began = cost(), time.monotonic()
        result = {**make(), "processor_seconds": round(cost() - before), "seconds": round(time.monotonic() - began)}
        path.write_text(json.dumps(result, indent=1))
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def sids_of(store: ArtifactStore, model: str) -> dict[str, tuple[int, ...]]:
    found = bases_of(Lineage(store), store.open(model))["sids"].frame("item_sids")
    return {item: tuple(codes) for item, codes in zip(found[C.ITEM], found["codes"], strict=True)}


def one_week(config: Config, store: ArtifactStore, before: str) -> dict[str, Any]:
    outcome = refresh.run(config, store)
    old, new = sids_of(store, before), sids_of(store, outcome.model)
    changed = sum(codes != new.get(item) for item, codes in old.items())
    return {"status": outcome.status, "model": outcome.model, "why": outcome.why, "sids_changed": changed} | {
        "sids": len(new),
        **outcome.summary,
    }


def fused_lists(ingest: Artifact, fuse: Artifact, config: Config) -> tuple[np.ndarray, Any, int]:
    catalogue, histories = read_catalogue(ingest)
    targets = select_targets(histories, config.recommend)
    rows = np.flatnonzero(targets.is_in_split(Split.TEST))
    return (
        read_candidates(fuse, FUSED, targets, rows).items,
        (targets.items[rows], targets.users[rows]),
        len(catalogue.item_ids),
    )


def against_a_rebuild(config: Config, store: ArtifactStore, model: str) -> dict[str, Any]:
    """Refreshed model and rebuild on the same targets: means, and the paired difference."""
    again = with_overrides(config, [f"dataset={config.dataset}-rebuilt"]).of_a_refresh()
    built = pipeline.run(again, store)
    refreshed = store.open(model)
    mine, (items, users), n_items = fused_lists(built["ingest"], built["fuse"], again)
    theirs, _, _ = fused_lists(bases_of(Lineage(store), refreshed)["ingest"], refreshed, again)
    metrics, differences = score(
        {"refreshed": theirs, "rebuilt": mine},
        items,
        users,
        {ALL: np.ones(len(items), dtype=bool)},
        n_items,
        config.evaluate,
        against=("rebuilt",),
    )
    k = max(config.evaluate.k)
    wanted = differences[(differences[C.K] == k) & differences[C.METRIC].isin(("hr", "ndcg"))]
    values = metrics[(metrics[C.K] == k) & metrics[C.METRIC].isin(("hr", "ndcg"))]
    return {
        "metrics": {f"{row.method} {row.metric}@{k}": round(row.value, 4) for row in values.itertuples()},
        "refreshed minus rebuilt": {
            row.metric: [round(value, 4) for value in (row.value, row.ci_low, row.ci_high)]
            for row in wanted.itertuples()
        },
        "n": len(items),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--out", type=Path, required=True, help="working folder: data, store, results")
    parser.add_argument("--order", choices=("time", "user"), default="time")
    parser.add_argument("--weeks", type=int, default=WEEKS)
    arguments = parser.parse_args()
    source = load_config(arguments.profile, arguments.set)
    events = ordered(Path(str(source.ingest.path)), arguments.order)
    items = pd.read_json(next(Path(str(source.ingest.path)).glob("items.jsonl*")), lines=True, dtype=False)
    data, out = arguments.out / "data", arguments.out
    own = [f"ingest.path={data}", "ingest.split=column", f"store={out / 'store'}", f"dataset={source.dataset}-weekly"]
    config = with_overrides(source, own)
    store = ArtifactStore(config.store)

    def first() -> dict[str, Any]:
        write_week(events, items, 0, data)
        return {"model": pipeline.run(config.of_a_refresh(), store)["fuse"].fingerprint}

    def week_of(week: int, model: str) -> dict[str, Any]:
        write_week(events, items, week, data)
        return one_week(config, store, model)

    weeks = [kept(out / "week0.json", first)]
    print("week 0", weeks[0], flush=True)
    for week in range(1, arguments.weeks + 1):
        before = weeks[-1]["model"] if weeks[-1].get("status") != "not promoted" else weeks[-1]["champion"]
        found = kept(
            out / f"week{week}.json", lambda week=week, before=before: {"champion": before} | week_of(week, before)
        )
        weeks.append(found)
        print(f"week {week}", found, flush=True)
    rebuilt = kept(out / "rebuilt.json", lambda: against_a_rebuild(config, store, weeks[-1]["model"]))
    print("rebuilt", rebuilt)
    for week, found in enumerate(weeks[1:], 1):
        print(f"week {week} costs {found['processor_seconds'] / rebuilt['processor_seconds']:.1%} of the rebuild")


if __name__ == "__main__":
    main()
