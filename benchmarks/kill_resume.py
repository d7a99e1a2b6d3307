"""Killed with SIGKILL at random moments of random stages, and run again: is everything as if nothing had happened?

    python benchmarks/kill_resume.py --out kills --flow train --seeds 1-8      # and refresh, recommend; goes on where
    python benchmarks/kill_resume.py --out kills --show                        # it was stopped

A real `tsrec serve` runs the flows on a tiny shop (`killed_system.py`). A seed draws some stages, what is killed in
each of them, and when: after a random share of the stage's known length. What was killed is started again as an
operator would, the run retried in between, and left to finish at last. Then every file of every artifact (or part, for
`recommend`) is compared with an undisturbed run's, and the moves of the champion too. Exits with 1 where one differs.
"""

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.killed_system import FLOWS, START, System, Undisturbed

SERVED = ("flow", "flow", "runner", "server", "machine")  # what is killed, drawn; a flow process twice as often
POOLED = ("worker", "worker's machine", "flow")
MOST_KILLS = 4


def trial(system: System, whole: Undisturbed, flow: str, seed: int) -> list[dict[str, Any]]:
    """One run with its kills; a row for each kill: where, what, whether all came out the same."""
    draw = random.Random(f"{flow} {seed}")
    pooled = seed % 4 == 0  # by a process worker of Prefect in place of `tsrec serve`
    stages = [START, *whole.seconds]
    chosen = sorted(draw.sample(range(len(stages)), min(MOST_KILLS, len(stages))))
    rows: list[dict[str, Any]] = []
    place = system.place(flow, f"{flow}-{seed}")
    run = system.start(flow, place, pooled=pooled)
    for stage in (stages[number] for number in chosen):
        what, share = draw.choice(POOLED if pooled else SERVED), draw.random()
        where = {"flow": flow, "seed": seed, "stage": stage, "killed": what}
        if system.wait_until_building(run, whole, place, stage, share):
            run, state = system.kill(what, run)
            rows.append({**where, "afterwards": state})
            print(f"{flow} {seed}: killed the {what} in {stage}: {state}", flush=True)
    system.wait_until_done(run)
    different = sorted(whole.differences(system.result(flow, place)))
    for row in rows:
        row |= {"same": not different, "different": different[:5]}
    print(f"{flow} {seed}: {len(rows)} kills, {'the same' if not different else f'DIFFERENT: {different}'}", flush=True)
    system.clear(place)
    return rows


def matrix(rows: list[dict[str, Any]]) -> str:
    """Kills by stage and by what was killed, as a Markdown table; those that came out different are marked."""
    kinds = [kind for kind in dict.fromkeys([*SERVED, *POOLED]) if any(row["killed"] == kind for row in rows)]
    stages = list(dict.fromkeys((row["flow"], row["stage"]) for row in rows))
    order = {flow: number for number, flow in enumerate(FLOWS)}
    count = Counter((row["flow"], row["stage"], row["killed"]) for row in rows)
    bad = Counter((row["flow"], row["stage"], row["killed"]) for row in rows if not row["same"])
    lines = [f"| killed in | {' | '.join(kinds)} |", f"|---|{'---|' * len(kinds)}"]
    for flow, stage in sorted(stages, key=lambda place: order[place[0]]):
        cells = []
        for kind in kinds:
            n, n_bad = count[flow, stage, kind], bad[flow, stage, kind]
            cells.append(f"{n or ''}" + (f" ({n_bad} different)" if n_bad else ""))
        lines.append(f"| {flow}: {stage} | {' | '.join(cells)} |")
    totals = [str(sum(row["killed"] == kind for row in rows)) for kind in kinds]
    lines.append(f"| all {len(rows)} | {' | '.join(totals)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of everything; kept between calls")
    parser.add_argument("--flow", choices=FLOWS, action="append", help="default: all three")
    parser.add_argument("--seeds", default="1-4", metavar="FIRST-LAST")
    parser.add_argument("--show", action="store_true", help="only print the matrix of what was done")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = arguments.out / "kills.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    if not arguments.show:
        first, _, last = arguments.seeds.partition("-")
        done = {(row["flow"], row["seed"]) for row in rows}
        with System(arguments.out.absolute()) as system:
            for flow in arguments.flow or FLOWS:
                whole = system.undisturbed(flow)
                for seed in range(int(first), int(last or first) + 1):
                    if (flow, seed) not in done:
                        found = trial(system, whole, flow, seed)
                        rows += found
                        with log.open("a") as stream:
                            stream.writelines(json.dumps(row) + "\n" for row in found)
    print(f"{matrix(rows)}\n\n{len(rows)} kills, {sum(not row['same'] for row in rows)} of them in runs that differ")
    sys.exit(0 if all(row["same"] for row in rows) else 1)


if __name__ == "__main__":
    main()
