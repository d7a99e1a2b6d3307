"""How good is a teacher LLM? The share of items with an answer that can be used, and its keywords beside keyless ones.

    python benchmarks/teacher_server.py &
    python -m benchmarks.teacher configs/industrial.yaml --set ingest.path=FOLDER --items 100 \
        --set keywords.openai.base_url=http://127.0.0.1:8080/v1 --set keywords.openai.model=smollm2-135m-instruct

Items are drawn evenly from the whole catalogue. Nothing is kept: every call asks for all of them.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from tsrec import data
from tsrec.columns import Columns as C
from tsrec.config import Config, load_config
from tsrec.keywords.keyless import KeylessTeacher
from tsrec.keywords.openai_teacher import OpenAITeacher
from tsrec.keywords.teacher import FALLBACK_SOURCE
from tsrec.pipeline import build_all, check
from tsrec.store import ArtifactStore


def read_items(config: Config) -> pd.DataFrame:
    """Columns item_id, title, text, as the keywords stage has them."""
    with tempfile.TemporaryDirectory() as folder:
        made = build_all(config, check(config, goal=data.STAGE), ArtifactStore(folder))
        return made["ingest"].frame("items", [C.ITEM, C.TITLE, C.TEXT])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--examples", type=int, default=6)
    arguments = parser.parse_args()
    config = load_config(arguments.profile, ["keywords.teacher=openai", *arguments.set])
    items = read_items(config)
    some = items.iloc[np.linspace(0, len(items) - 1, min(arguments.items, len(items))).astype(int)]
    keyless = KeylessTeacher(items)
    began = time.perf_counter()
    teacher, keywords, sources, usage = OpenAITeacher(config.keywords, keyless), [], [], Counter[str]()
    for start in range(0, len(some), config.keywords.shard_items):
        drawn = teacher.draw(some.iloc[start : start + config.keywords.shard_items])
        keywords += drawn.keywords
        sources += drawn.sources
        usage.update(drawn.usage)
        print(
            f"{len(sources)} items in {time.perf_counter() - began:.0f} s: {dict(usage)}", file=sys.stderr, flush=True
        )
    seconds = time.perf_counter() - began
    n_passed = len(some) - sources.count(FALLBACK_SOURCE)
    print(f"{n_passed} of {len(some)} items ({n_passed / len(some):.0%}) have an answer that can be used")
    good = usage["n_answers"] - usage["n_bad_answers"]
    print(f"{good} of {usage['n_answers']} answers ({good / max(usage['n_answers'], 1):.0%}) can be used")
    print(f"{seconds / len(some):.1f} s an item; { ({name: n for name, n in usage.items() if n}) }")
    beside = keyless.draw(some).keywords
    for row in np.linspace(0, len(some) - 1, min(arguments.examples, len(some))).astype(int):
        print(f"\n{some[C.TITLE].iloc[row]}\n  {sources[row]}: {', '.join(keywords[row])}")
        print(f"  keyless: {', '.join(beside[row])}")


if __name__ == "__main__":
    main()
