"""Initializers compared on Industrial with the published SIDs, everything else the same.

    python benchmarks/initializers.py --seeds 1 2 --set finetune.epochs=3

Three starts of the SID rows: random, SA-Init keyless (centred, norm 0.5), SA-Init as its authors released it
(published token semantics in one string, rescaled to the mean norm of pretrained rows). Prints HR@10 and NDCG@10 on
valid and test for every seed, and the mean. Artifacts are shared: only what differs is built.
"""

import argparse
from pathlib import Path

import pandas as pd

from tsrec import pipeline
from tsrec.config import load_config
from tsrec.store import ArtifactStore

RANDOM = ["sa_init.initializer=random", "sa_init.norm=0.5", "sa_init.centre=false"]
KEYLESS = ["sa_init.initializer=keywords", "sa_init.norm=0.5", "sa_init.centre=true"]
RELEASED = ["sa_init.initializer=keyword-string", "sa_init.norm=pretrained", "sa_init.centre=false"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="configs/industrial.yaml")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/industrial"), help="folder of the data set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--starts", nargs="+", default=list(range(3)), type=int, help="which of the three, from 0")
    parser.add_argument("--splits", nargs="+", default=["test"], choices=["valid", "test"])
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    arguments = parser.parse_args()
    published = [f"ingest.path={arguments.data}", f"sids.import_file={arguments.data}/published_sids.json.gz"]
    semantics = [f"sa_init.import_file={arguments.data}/published_token_semantics.json.gz", "sa_init.n_keywords=64"]
    starts = {"random": RANDOM, "SA-Init keyless, centred": KEYLESS, "SA-Init as released": [*semantics, *RELEASED]}
    rows = []
    for seed in arguments.seeds:
        for name, start in [list(starts.items())[number] for number in arguments.starts]:
            for split in arguments.splits:
                seeded = [f"sa_init.seed={seed}", f"finetune.seed={seed}", f"evaluate.split={split}"]
                config = load_config(arguments.profile, [*published, *start, *seeded, *arguments.set])
                artifacts = pipeline.run(config, ArtifactStore(config.store))
                metrics = artifacts["evaluate"].frame("metrics")
                mine = metrics[(metrics["method"] == "tsrec") & (metrics["slice"] == "all") & (metrics["k"] == 10)]
                values = mine.set_index("metric")["value"]
                row = {"start": name, "seed": seed, "split": split, "HR@10": values["hr"], "NDCG@10": values["ndcg"]}
                row["minutes"] = artifacts["finetune"].manifest.seconds / 60
                rows.append(row)
                print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    print(table.groupby(["start", "split"], sort=False)[["HR@10", "NDCG@10", "minutes"]].mean().round(4).to_string())


if __name__ == "__main__":
    main()
