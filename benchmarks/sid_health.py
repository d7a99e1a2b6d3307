"""Codebook health of our semantic IDs beside the published ones.

    python benchmarks/sid_health.py --data ../shared/data/industrial

`--data` names the folder of the data set with `published_sids.json.gz` in it. Runs ingest, embed and sids where the
store lacks them, and prints one table per level. Ours is shown as quantized and as assigned, after colliding items
were moved; the published SIDs exist only as assigned.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from tsrec import pipeline
from tsrec.columns import Columns as C
from tsrec.config import load_config
from tsrec.sids.health import codebook_health
from tsrec.store import Artifact, ArtifactStore

STAGES = ("ingest", "embed", "sids")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="configs/industrial.yaml")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/industrial"), help="folder of the data set")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    arguments = parser.parse_args()
    path = [f"ingest.path={arguments.data}", *arguments.set]
    own = build_sids(arguments.profile, path)
    published = build_sids(arguments.profile, [*path, f"sids.import_file={arguments.data / 'published_sids.json.gz'}"])
    tables = {
        "own, as quantized": own.frame("codebook_health"),
        "own, as assigned": assigned_health(own),
        "published": published.frame("codebook_health"),
    }
    table = pd.concat(tables, names=["sids"]).reset_index(level="sids")
    table[C.LEVEL] += 1
    print(table.sort_values(C.LEVEL, kind="stable").round(4).to_string(index=False))
    for name, artifact in (("own", own), ("published", published)):
        codes = artifact.matrix("item_sids", C.CODES)
        print(f"{name}: {len(np.unique(codes, axis=0))} distinct SIDs over {len(codes)} items; {artifact.counts}")


def build_sids(profile: str, settings: list[str]) -> Artifact:
    """Build no more of the pipeline than the semantic IDs need."""
    config = load_config(profile, settings)
    store = ArtifactStore(config.store)
    artifacts: dict[str, Artifact] = {}
    for name, planned in pipeline.plan(config).items():
        if name in STAGES:
            artifacts[name] = pipeline.build(planned, store, artifacts)
    return artifacts["sids"]


def assigned_health(sids: Artifact) -> pd.DataFrame:
    """Health after collisions were settled; the error is the quantizer's own, so left out."""
    return codebook_health(sids.matrix("item_sids", C.CODES), tuple(sids.json("sid_space")["sizes"]), errors=None)


if __name__ == "__main__":
    main()
