"""TS-Align where it should cost nothing: the LLM's lists with and without it, for equal numbers of training tokens.

    python -m benchmarks.ts_align_costs configs/industrial.yaml --set ingest.path=FOLDER --seeds 1 2

Printed for each seed, then for all of them, on valid: HR@10 and NDCG@10 of the LLM alone, and what a condition gains
over none, with an interval over users. Test is not read.

And what TS-Align is for, as `benchmarks/token_names.py` prints it. `first` is asked before its histories, too.

- `none`: the profile
- `descriptions`: descriptions of single tokens, in every epoch
- `rare`: descriptions of single tokens, each seen in a tenth of the epochs
- `keywords`: keywords of single tokens instead of descriptions, in every epoch
- `first`: descriptions of single tokens for the first tenth of the tokens, while the LLM is frozen and the SID rows
  alone learn; then histories

Epochs are as many as keep the tokens of the whole training those of the profile. A killed call goes on where it was.
The model of `first` lies in a store of its own beside the profile's, for its SA-Init rows are others.
"""

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.members import print_comparison
from benchmarks.token_names import print_names
from tsrec import pipeline
from tsrec.columns import LLM, Split
from tsrec.columns import Columns as C
from tsrec.config import Config, EvaluateConfig, load_config
from tsrec.finetune import STAGE as FINETUNE
from tsrec.finetune.examples import build_examples
from tsrec.recommenders import DECODE
from tsrec.recommenders.candidates import read_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.targets import select_targets
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import add_sid_tokens
from tsrec.stage import Stage
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

FIRST_SHARE = 0.1
DESCRIPTIONS = ("token_to_meaning", "meaning_to_token")
KEYWORDS = ("token_to_keywords", "keywords_to_token")
CONDITIONS = {
    "none": [],
    "descriptions": [f"finetune.tasks.{task}=1" for task in DESCRIPTIONS],
    "rare": [f"finetune.tasks.{task}=0.1" for task in DESCRIPTIONS],
    "keywords": [f"finetune.tasks.{task}=1" for task in KEYWORDS],
    "first": [],
}


def build(config: Config, goal: Stage = DECODE) -> dict[str, Artifact]:
    return pipeline.build_all(config, pipeline.plan(config, goal=goal), ArtifactStore(config.store))


def built_before(config: Config) -> dict[str, Artifact]:
    """What fine-tuning is handed."""
    stages = {name: planned for name, planned in pipeline.plan(config, goal=FINETUNE).items() if name != FINETUNE.name}
    return pipeline.build_all(config, stages, ArtifactStore(config.store))


def n_tokens(config: Config, parents: dict[str, Artifact]) -> int:
    """Tokens of one epoch."""
    tokenizer = AutoTokenizer.from_pretrained(parents["backbone"].file("model"))
    space = SidSpace(tuple(parents["sids"].json("sid_space")["sizes"]))
    first_sid = add_sid_tokens(tokenizer, space)
    one = config.finetune.model_copy(update={"epochs": 10.0})  # ten, for weights below 1
    train = build_examples(one, parents, tokenizer, space, first_sid).train
    return sum(len(train[index].input_ids) for index in range(len(train))) // 10


def epochs_of(changed: Config, plain: Config, share: float = 1.0) -> str:
    """The setting by which a run on `changed` has this share of the tokens of one on `plain`."""
    parents = built_before(plain) | built_before(changed)
    epochs = share * plain.finetune.epochs * n_tokens(plain, parents) / n_tokens(changed, parents)
    return f"finetune.epochs={epochs:.3f}"


def settings_of(condition: str, profile: str, own: Sequence[str]) -> Config:
    """The configuration of a condition, with as many epochs as its tokens allow."""
    plain = load_config(profile, own)
    if condition == "first":
        return load_config(profile, [*own, f"finetune.epochs={plain.finetune.epochs * (1 - FIRST_SHARE)}"])
    if condition == "none":
        return plain
    changes = [*own, *CONDITIONS[condition]]
    return load_config(profile, [*changes, epochs_of(load_config(profile, changes), plain)])


def with_taught_rows(config: Config, profile: str, own: Sequence[str]) -> Config:
    """The configuration on a store whose SA-Init rows have learned what tokens mean, the LLM frozen."""
    alone = ["tasks.history=0", "distill.share=0", "method=sid-rows", "patience="]
    changes = [*own, *(f"finetune.{change}" for change in (*alone, *(f"tasks.{task}=1" for task in DESCRIPTIONS)))]
    plain, taught = load_config(profile, own), load_config(profile, changes)
    parents = built_before(plain)
    taught = load_config(profile, [*changes, epochs_of(taught, plain, FIRST_SHARE)])
    rows_alone = build(taught, FINETUNE)
    print_names("first, before its histories", parents | rows_alone)
    model = rows_alone["finetune"].file("model")
    store = Path(config.store)
    other = store.with_name(f"{store.name}-taught-{config.finetune.seed}")
    for parent in parents.values():
        place = other / parent.path.relative_to(store)
        if parent.manifest.key.stage != "sa_init" and not place.exists():
            shutil.copytree(parent.path, place, copy_function=os.link)

    def write(out: ArtifactWriter) -> None:
        embedding: Any = AutoModelForCausalLM.from_pretrained(model).get_input_embeddings()
        rows = embedding.weight.detach().float().numpy()
        tokens = AutoTokenizer.from_pretrained(model).convert_tokens_to_ids
        source = parents["sa_init"]
        table = source.table("token_embeddings")
        own_rows = rows[tokens(table[C.TOKEN].to_pylist())]
        column = table.schema.get_field_index(C.EMBEDDING)
        for name in source.manifest.files:
            if name != "token_embeddings.parquet":
                shutil.copy(source.file(name), out.path / name)
        out.write_table(
            "token_embeddings",
            table.set_column(column, C.EMBEDDING, pa.array(list(own_rows), pa.list_(pa.float32()))),
        )

    ArtifactStore(other).build(parents["sa_init"].manifest.key, write)
    return config.model_copy(update={"store": str(other)})


def lists_of(condition: str, profile: str, own: Sequence[str]) -> tuple[dict[str, Artifact], Config]:
    config = settings_of(condition, profile, own)
    if condition == "first":
        config = with_taught_rows(config, profile, own)
    return build(config), config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    arguments = parser.parse_args()
    of_seeds: dict[str, list[np.ndarray]] = {condition: [] for condition in arguments.conditions}
    for seed in arguments.seeds:
        own = [*arguments.set, "recommend.max_test_targets=100", f"finetune.seed={seed}"]
        lists = {}
        for condition in arguments.conditions:
            began = time.monotonic()
            artifacts, config = lists_of(condition, arguments.profile, own)
            catalogue, histories = read_catalogue(artifacts["ingest"])
            targets = select_targets(histories, config.recommend)
            rows = np.flatnonzero(targets.is_in_split(Split.VALID))
            lists[condition] = read_candidates(artifacts["decode"], LLM, targets, rows, 10).items
            of_seeds[condition].append(lists[condition])
            trained = artifacts["finetune"].manifest.seconds
            print(f"{condition}: {config.finetune.epochs:g} epochs, {trained:.0f} s of {time.monotonic() - began:.0f}")
            print_names(condition, artifacts)
        print(f"seed {seed}")
        print_comparison(lists, targets.items[rows], targets.users[rows], catalogue.n_items, EvaluateConfig(k=(10,)))
    if len(arguments.seeds) > 1:  # a user's rows of all seeds come and go together
        print(f"seeds {', '.join(map(str, arguments.seeds))}")
        together = {condition: np.concatenate(parts) for condition, parts in of_seeds.items()}
        items, users = (np.tile(part[rows], len(arguments.seeds)) for part in (targets.items, targets.users))
        print_comparison(together, items, users, catalogue.n_items, EvaluateConfig(k=(10,)))


if __name__ == "__main__":
    main()
