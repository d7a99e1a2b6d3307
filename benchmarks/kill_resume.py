"""Killed with SIGKILL at random moments of random stages, and run again: is everything as if nothing had happened?

    python benchmarks/kill_resume.py --out kills --seeds 1-8                    # goes on where it was stopped
    python benchmarks/kill_resume.py --out kills --by served --seeds 1-3        # and pooled
    python benchmarks/kill_resume.py --out kills --show

`--by forked` has each run in a process of its own (`killed_runs.py`), `served` in a real `tsrec serve`, `pooled` by a
process worker of Prefect (`killed_system.py`). A seed draws some stages of a flow on a tiny shop, what is killed in
each of them, and when: after a random share of the stage's known length. What was killed is started again as an
operator would, and the run left to finish at last. Then every file of every artifact (or part, for `recommend`), all
counts, and the moves of the champion are compared with an undisturbed run's. Exits with 1 where one differs.
"""

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.killed_runs import FLOWS, NOT_KILLED, START, Forked, Killed, Undisturbed
from benchmarks.killed_system import Pooled, Served
from tsrec.pipeline import STAGES

BY: dict[str, type[Killed]] = {"forked": Forked, "served": Served, "pooled": Pooled}
MOST_KILLS = 4


def trial(killed: Killed, whole: Undisturbed, flow: str, seed: int) -> list[dict[str, Any]]:
    """One run with its kills; a row for each kill: where, what, and whether all came out the same."""
    draw = random.Random(f"{flow} {seed}")
    stages = [START, *whole.seconds]
    if flow == "recommend":
        stages *= 2  # it has no stages to go through: the same moments twice
    chosen = sorted(draw.sample(range(len(stages)), min(MOST_KILLS, len(stages))))
    rows: list[dict[str, Any]] = []
    place = killed.place(flow, f"{flow}-{seed}")
    run = killed.start(flow, place)
    for stage in (stages[number] for number in chosen):
        what, share = draw.choice(killed.kinds), draw.random()
        if killed.wait_until_building(run, whole, place, stage, share):
            run, state = killed.kill(what, run)
            if state == NOT_KILLED:
                continue
            rows.append({"flow": flow, "seed": seed, "stage": stage, "killed": what, "afterwards": state})
            print(f"{flow} {seed}: killed the {what} in {stage}: {state}", flush=True)
    killed.wait_until_done(run)
    different = sorted(whole.differences(killed.result(flow, place)))
    print(f"{flow} {seed}: {len(rows)} kills, {'the same' if not different else f'DIFFERENT: {different}'}", flush=True)
    killed.clear(place)
    return [{**row, "same": not different, "different": different[:5]} for row in rows]


def matrix(rows: list[dict[str, Any]]) -> str:
    """Kills by stage and by what was killed, as a Markdown table; those of runs that came out different are marked."""
    kinds = list(dict.fromkeys(row["killed"] for row in rows))
    places = dict.fromkeys((row["flow"], row["stage"]) for row in rows)
    count = Counter((row["flow"], row["stage"], row["killed"]) for row in rows)
    bad = Counter((row["flow"], row["stage"], row["killed"]) for row in rows if not row["same"])
    lines = [f"| killed in | {' | '.join(kinds)} |", f"|---|{'---|' * len(kinds)}"]
    order = [START, *(stage.name for stage in STAGES)]  # what is no stage comes last
    order += [stage for _, stage in places if stage not in order]
    for place in sorted(places, key=lambda place: (FLOWS.index(place[0]), order.index(place[1]))):
        marked = [f" ({bad[*place, kind]} different)" if bad[*place, kind] else "" for kind in kinds]
        cells = [f"{count[*place, kind] or ''}{mark}" for kind, mark in zip(kinds, marked, strict=True)]
        lines.append(f"| {place[0]}: {place[1]} | {' | '.join(cells)} |")
    totals = [str(sum(row["killed"] == kind for row in rows)) for kind in kinds]
    return "\n".join([*lines, f"| all {len(rows)} | {' | '.join(totals)} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of everything; kept between calls")
    parser.add_argument("--by", choices=BY, default="forked")
    parser.add_argument("--flow", choices=FLOWS, action="append", help="default: all three")
    parser.add_argument("--seeds", default="1-4", metavar="FIRST-LAST")
    parser.add_argument("--show", action="store_true", help="only print the matrix of what was done")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = arguments.out / "kills.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    if not arguments.show:
        first, _, last = arguments.seeds.partition("-")
        kinds = BY[arguments.by].kinds
        done = {(row["flow"], row["seed"]) for row in rows if row["killed"] in kinds}
        folder = arguments.out.absolute() / arguments.by
        folder.mkdir(exist_ok=True)
        with BY[arguments.by](folder) as killed:
            for flow in arguments.flow or FLOWS:
                whole = killed.undisturbed(flow)
                for seed in range(int(first), int(last or first) + 1):
                    if (flow, seed) not in done:
                        found = trial(killed, whole, flow, seed)
                        rows += found
                        with log.open("a") as stream:
                            stream.writelines(json.dumps(row) + "\n" for row in found)
    print(f"{matrix(rows)}\n\n{len(rows)} kills, {sum(not row['same'] for row in rows)} of them in runs that differ")
    sys.exit(0 if all(row["same"] for row in rows) else 1)


if __name__ == "__main__":
    main()
