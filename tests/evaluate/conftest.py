"""The artifacts that evaluation reads, from real stages on a tiny shop."""

import json
import random
from pathlib import Path

import pytest

from tsrec import pipeline
from tsrec.config import Config, load_config
from tsrec.store import Artifact, ArtifactStore


@pytest.fixture(scope="session")
def shop_config(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> Config:
    """30 items, 25 users with repeats among their 4 to 8 events."""
    folder, moments = tmp_path_factory.mktemp("shop"), random.Random(2)
    with (folder / "items.jsonl").open("w", encoding="utf-8") as stream:
        for item in range(30):
            stream.write(json.dumps({"item_id": f"i{item:02d}", "title": f"thing {item % 7} of {item}"}) + "\n")
    with (folder / "interactions.csv").open("w", encoding="utf-8") as stream:
        stream.write("user_id,item_id,timestamp\n")
        for user in range(25):
            for time in range(moments.randint(4, 8)):
                stream.write(f"u{user:02d},i{moments.randrange(30):02d},{time}\n")
    return load_config(
        None,
        [
            "dataset=shop",
            f"store={tmp_path_factory.mktemp('store')}",
            "ingest.source=tables",
            f"ingest.path={folder}",
            "sids.codes_per_level=[4, 4, 8]",
            f"backbone.model={tiny_backbone}",
            "backbone.n_layers=1",
            "finetune.epochs=1",
            "finetune.tasks={history: 1, title_to_sid: 0, token_to_meaning: 0, meaning_to_token: 0}",
            "members.methods=[popular, transitions]",
            "decode.shard_users=8",
            "decode.batch_tokens=120",
        ],
    )


@pytest.fixture(scope="session")
def shop_artifacts(shop_config: Config) -> dict[str, Artifact]:
    """Every artifact up to the evaluation's."""
    store, artifacts = ArtifactStore(shop_config.store), {}
    for name, planned in pipeline.plan(shop_config).items():
        if name != "report":
            artifacts[name] = pipeline.build(planned, store, artifacts)
    return artifacts
