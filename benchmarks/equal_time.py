"""NDCG@10 on valid after the same processor time of training: `finetune` against the usual one row per target.

    python -m benchmarks.equal_time configs/industrial.yaml --set ingest.path=FOLDER --set finetune.epochs=1

Builds what `finetune` needs. Then runs the stage and takes its processor time, with reading, losses on valid and
export. The usual way (see `usual_rows`) starts from the same layers and the same SID rows. It trains for as long, its
reading not counted, with one cosine schedule over the steps that fit. Both answer the same random targets of valid, by
the same beams, each with the prompt that it was trained on.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from benchmarks.usual_rows import PADDING, PROMPT_ITEMS, usual_row, usual_trainer
from tsrec import pipeline
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import Config, load_config
from tsrec.evaluate.metrics import metrics_per_target
from tsrec.evaluate.scoring import target_ranks
from tsrec.finetune import STAGE as FINETUNE
from tsrec.histories import Histories
from tsrec.machine.devices import resolve_precision
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.llm import Llm
from tsrec.recommenders.ranking import Filter
from tsrec.recommenders.stage_settings import BeamSettings
from tsrec.recommenders.targets import Targets, sample_events
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import HistoryTokens, add_sid_tokens, opening_token, sid_token_ids
from tsrec.store import Artifact, ArtifactStore

# In the manner of MiniOneRec (arXiv 2510.24431).
INSTRUCTION = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n### Instruction:\nCan you predict the next possible item "
    "that the user may expect?\n\n### User Input:\nThe user has interacted with these items in chronological order: "
)
PRECISION = resolve_precision("auto", torch.device("cpu"))
ANSWER = "\nWhat is the next item for the user?\n\n### Response:\n"


@dataclass(frozen=True)
class InstructionTokens(HistoryTokens):
    """A history as the usual way writes it: `before` it (A,) and `behind` it (B,) token ids of the instruction."""

    before: np.ndarray
    behind: np.ndarray
    separator: int

    def prompt(self, items: np.ndarray) -> np.ndarray:
        items = items[-PROMPT_ITEMS:]
        past = np.column_stack([self.sids[items], np.full(len(items), self.separator)]).ravel()
        return np.concatenate([[self.opening], self.before, past, self.behind]).astype(np.int64)


class StopAfter(TrainerCallback):
    """Ends a training after so many processor seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop |= time.process_time() - self.began > self.seconds


def usual_examples(
    histories: Histories, tokens: InstructionTokens, end: int, config: Config
) -> list[dict[str, list[int]]]:
    """One row for each target of train that has a past, in random order."""
    rows = []
    is_train = histories.splits == Split.TRAIN.value
    for event in np.flatnonzero(is_train):
        if len(past := histories.history_of(int(event))):
            prompt, answer = tokens.prompt(past).tolist(), [*tokens.sids[histories.items[event]].tolist(), end]
            rows.append(usual_row(prompt, answer))
    return [rows[row] for row in np.random.default_rng(config.finetune.seed).permutation(len(rows))]


def train_usual(model: Any, rows: list[dict[str, list[int]]], steps: int, seconds: float, arguments: Any) -> int:
    """Train for at most `steps` steps or so many processor seconds; returns how many steps were made."""
    schedule = {"max_steps": steps, "learning_rate": arguments.usual_rate, "lr_scheduler_type": "cosine"}
    schedule["warmup_steps"] = min(20, steps // 5)
    with TemporaryDirectory() as folder:
        trainer = usual_trainer(model, rows, folder, arguments.usual_batch, PRECISION, **schedule)
        trainer.add_callback(StopAfter(seconds))
        trainer.train()
        return int(trainer.state.global_step)


def hr_and_ndcg(llm: Llm, targets: Targets) -> tuple[float, float]:
    """HR@10 and NDCG@10."""
    ranked = llm.rank(targets.pasts(), 10, Filter(llm.catalogue.n_items))
    found = metrics_per_target(target_ranks(ranked.items, targets.items), 10)
    return float(found["hr"].mean()), float(found["ndcg"].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--usual-batch", type=int, default=16, help="rows of a batch of the usual way")
    parser.add_argument("--usual-rate", type=float, default=5e-4, help="its peak learning rate")
    arguments = parser.parse_args()
    config = load_config(arguments.profile, arguments.set)
    store = ArtifactStore(config.store)
    artifacts: dict[str, Artifact] = {}
    for planned in pipeline.plan(config, goal=FINETUNE).values():
        if planned.name == FINETUNE.name and planned.found_in(store):
            raise SystemExit(f"{planned.key.path} was trained before; choose other --set, such as finetune.seed=7")
        began = time.process_time()
        artifacts[planned.name] = pipeline.build(planned, store, artifacts)
        seconds = time.process_time() - began
    catalogue, histories = read_catalogue(artifacts["ingest"])
    valid = sample_events(histories.target_events(Split.VALID), arguments.targets, [1, 7])
    targets = Targets(histories, valid)
    space = SidSpace(tuple(artifacts["sids"].json("sid_space")["sizes"]))
    codes = artifacts["sids"].matrix("item_sids", C.CODES).astype(np.int64)
    tokenizer = AutoTokenizer.from_pretrained(artifacts["backbone"].file("model"))
    first = add_sid_tokens(tokenizer, space)
    sids, opening = sid_token_ids(first, space, codes), opening_token(tokenizer)
    settings = BeamSettings(beams=config.decode.beams, device="cpu", precision="auto")

    def llm(model: Any, tokens: HistoryTokens) -> Llm:
        return Llm(model.to(PRECISION).eval(), space, codes, catalogue, first, tokens, settings)

    folder: Path = artifacts[FINETUNE.name].file("model")
    packed = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    hr, ndcg = hr_and_ndcg(llm(packed, HistoryTokens(opening, sids)), targets)
    print(f"finetune: {seconds:.0f} processor s; HR@10 {hr:.4f}, NDCG@10 {ndcg:.4f}", flush=True)

    before, separator, behind = (
        np.array(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (INSTRUCTION, ", ", ANSWER)
    )
    tokens = InstructionTokens(opening, sids, before, behind, int(separator[0]))
    rows = usual_examples(histories, tokens, tokenizer.eos_token_id or PADDING, config)
    model = AutoModelForCausalLM.from_pretrained(
        artifacts["backbone"].file("model"), dtype=torch.float32, attn_implementation="sdpa"
    )
    model.resize_token_embeddings(first + space.n_tokens, mean_resizing=False)
    sid_rows = artifacts["sa_init"].matrix("token_embeddings", C.EMBEDDING).astype(np.float32)
    with torch.no_grad():
        model.get_input_embeddings().get_parameter("weight")[first:] = torch.from_numpy(sid_rows)
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    taken = []
    for few in (2, 6):  # the difference is without start-up work
        began = time.process_time()
        train_usual(model, rows, few, float("inf"), arguments)
        taken.append(time.process_time() - began)
    a_step = (taken[1] - taken[0]) / 4
    model.load_state_dict(start)
    n_steps = train_usual(model, rows, max(1, round(seconds / a_step)), seconds, arguments)
    hr, ndcg = hr_and_ndcg(llm(model, tokens), targets)
    share = n_steps * arguments.usual_batch / len(rows)
    print(f"usual: {n_steps} steps, {share:.1%} of the targets; HR@10 {hr:.4f}, NDCG@10 {ndcg:.4f}")


if __name__ == "__main__":
    main()
