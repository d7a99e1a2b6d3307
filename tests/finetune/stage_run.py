"""The finetune stage on a tiny shop, able to kill itself; tests run it in processes of its own."""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from transformers import Trainer

from tests.keys import key_of
from tsrec.columns import Columns as C
from tsrec.config import FinetuneSettings, RlConfig, RlSettings
from tsrec.finetune import RL, STAGE
from tsrec.sid.space import SidSpace
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

SPACE = SidSpace((3, 3, 4))
N_ITEMS = 30
TASKS = {"history": 1, "title_to_sid": 0.5, "sid_to_title": 0.5, "token_to_meaning": 1, "meaning_to_token": 1}


def parents(store: ArtifactStore, backbone: Path) -> dict[str, Artifact]:
    """Thirty items, forty users, and what the stages before `finetune` would have written of them."""
    random = np.random.default_rng(0)
    items = [f"i{item:02}" for item in range(N_ITEMS)]
    codes = [[item % 3, item // 3 % 3, item // 9] for item in range(N_ITEMS)]
    rows = [
        (f"u{user:02}", items[random.integers(N_ITEMS)], place, place, split)
        for user in range(40)
        for place, split in enumerate(["train"] * random.integers(2, 9) + ["valid", "test"])
    ]
    interactions = pd.DataFrame(rows, columns=[C.USER, C.ITEM, C.TIMESTAMP, C.POSITION, C.SPLIT])
    tokens = SPACE.tokens()
    semantics = {
        C.TOKEN: tokens,
        C.KEYWORDS: [["wood", "glue"]] * len(tokens),
        "description": [None, *["gloves for cleaning"] * (len(tokens) - 1)],
        C.N_ITEMS: [1] * len(tokens),
    }
    embeddings = pa.array(random.normal(0, 0.1, (len(tokens), 32)).tolist(), pa.list_(pa.float32()))

    def ingest(out: ArtifactWriter) -> None:
        out.write_table("items", pa.table({C.ITEM: items, C.TITLE: [f"blue gloves {item}" for item in items]}))
        out.write_table("interactions", interactions)

    def sids(out: ArtifactWriter) -> None:
        out.write_table("item_sids", pa.table({C.ITEM: items, C.CODES: pa.array(codes, pa.list_(pa.int16()))}))
        out.write_json("sid_space", {"sizes": list(SPACE.sizes)})

    def sa_init(out: ArtifactWriter) -> None:
        out.write_table("token_semantics", pa.table(semantics))
        out.write_table("token_embeddings", pa.table({C.TOKEN: tokens, C.EMBEDDING: embeddings}))

    def copy_model(out: ArtifactWriter) -> None:
        for file in backbone.iterdir():
            (out.directory("model") / file.name).write_bytes(file.read_bytes())

    def descriptions(out: ArtifactWriter) -> None:
        named = ["<a_0>", "<b_1>"]
        words = [["gloves"], ["glue", "tools"]]
        out.write_table("token_semantics", pa.table({C.TOKEN: named, C.KEYWORDS: words, "description": ["", "tool"]}))

    def soft_targets(out: ArtifactWriter) -> None:
        """Every second train target may also come out as item 1 (three times of four) or item 2."""
        table = interactions[(interactions[C.SPLIT] == "train") & (interactions[C.POSITION] > 0)][::2]
        lists = {C.ITEMS: pa.array([[1, 2]] * len(table), pa.list_(pa.int32()))}
        lists[C.SCORES] = pa.array([np.log([0.3, 0.1]).tolist()] * len(table), pa.list_(pa.float32()))
        columns = {name: pa.array(table[name]) for name in (C.SPLIT, C.USER, C.POSITION)}
        out.write_table("soft_targets", pa.table({**columns, **lists}))

    made = {
        "semantics": descriptions,
        "ingest": ingest,
        "sids": sids,
        "sa_init": sa_init,
        "soft_targets": soft_targets,
        "backbone": copy_model,
    }
    return {name: store.build(key_of(name), make) for name, make in made.items()}


def config(**changes: object) -> FinetuneSettings:
    """Two short epochs over a mix of tasks."""
    values: dict[str, object] = {
        "tasks": TASKS,
        "epochs": 2,
        "batch_size": 8,
        "warmup_steps": 3,
        "device": "cpu",
        "precision": "float32",
    }
    return FinetuneSettings(**{**values, **changes})  # type: ignore[arg-type]


def run(folder: Path, backbone: Path, settings: FinetuneSettings, death_step: int | None = None) -> Artifact:
    """Build the stage's artifact in the store `folder`; with `death_step`, SIGKILL in that training step."""
    torch.set_num_threads(1)
    _die_in(death_step)
    store = ArtifactStore(folder)
    before = parents(store, backbone)
    return store.build(key_of("finetune"), lambda out: STAGE.run(settings, before, out))


def rl_settings(kl: float = 0.01, **changes: object) -> RlSettings:
    """A few passes in float32, fast enough for a shop to learn from."""
    own = RlConfig.model_validate({"epochs": 4, "beams": 6, "learning_rate": 2e-3, **changes})
    return RlSettings(own=own, finetune=config(tasks={"history": 1}), batch_size=16, kl=kl)


def run_rl(folder: Path, before: dict[str, Artifact], settings: RlSettings, death_step: int | None = None) -> Artifact:
    """The same of the rl stage, from its parents."""
    torch.set_num_threads(1)
    _die_in(death_step)
    return ArtifactStore(folder).build(key_of("rl"), lambda out: RL.run(settings, before, out))


def _die_in(death_step: int | None) -> None:
    if death_step is None:
        return
    original, calls = Trainer.training_step, iter(range(1, death_step + 1))

    def dying(*arguments: object, **options: object) -> object:
        if next(calls) == death_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    Trainer.training_step = dying  # type: ignore[method-assign,assignment]
