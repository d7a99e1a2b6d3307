"""Whether a fine-tuned LLM knows what its SID tokens mean.

    python -m benchmarks.token_names configs/industrial-deep.yaml --set ingest.path=FOLDER \
        --set finetune.tasks.token_to_meaning=1 --set finetune.tasks.meaning_to_token=1

Of the SID tokens that have a meaning: the share that the LLM names first among the tokens of the level, and in brackets
the share among its first ten, when it reads the token's description. It is asked as TS-Align asks in training, and in
two ways that no training had. Builds what the store lacks.
"""

import argparse

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tsrec import pipeline
from tsrec.config import load_config
from tsrec.finetune import STAGE as FINETUNE
from tsrec.finetune.tasks import TASKS
from tsrec.finetune.texts import meanings_of
from tsrec.sid.space import SidSpace, parse_token
from tsrec.sid.tokens import first_sid_id, opening_token
from tsrec.store import Artifact, ArtifactStore

QUESTIONS = (
    next(task.prompt for task in TASKS if task.name == "meaning_to_token"),  # as in training
    "{meaning} All of this is meant by the token ",
    "Which token means {meaning}? It is ",
)
EVERY = 3  # tokens; one takes a fifth of a second, with all thirty layers a second


@torch.inference_mode()
def print_names(what: str, artifacts: dict[str, Artifact], every: int = EVERY) -> None:
    """The line of one model; `every` third token is asked for, or as told."""
    finetune = artifacts["finetune"]
    model = AutoModelForCausalLM.from_pretrained(finetune.file("model"), dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(finetune.file("model"))
    space = SidSpace(tuple(artifacts["sids"].json("sid_space")["sizes"]))
    first = first_sid_id(tokenizer, space, finetune.path)
    ranks: list[list[int]] = []
    for token, meaning in list(meanings_of(artifacts["sa_init"]).items())[::every]:
        level, code = parse_token(token)
        start = first + space.offsets[level]
        ranks.append([])
        for question in QUESTIONS:
            prompt = tokenizer.encode(question.format(meaning=meaning.description), add_special_tokens=False)
            logits = model(torch.tensor([[opening_token(tokenizer), *prompt]]), logits_to_keep=1).logits[0, -1]
            of_level = logits[start : start + space.sizes[level]]
            ranks[-1].append(int((of_level > of_level[code]).sum()))
    found = [(np.array(ranks) < k).mean(axis=0) for k in (1, 10)]
    shares = ", ".join(f"{one:.3f} ({ten:.3f})" for one, ten in zip(*found, strict=True))
    print(f"{what}: of {len(ranks)} tokens named first (in the first ten) as trained, and in two other ways: {shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--every", type=int, default=EVERY, help="ask for every so many-th token alone (default 3)")
    arguments = parser.parse_args()
    config = load_config(arguments.profile, arguments.set)
    artifacts = pipeline.build_all(config, pipeline.plan(config, goal=FINETUNE), ArtifactStore(config.store))
    print_names(arguments.profile, artifacts, arguments.every)


if __name__ == "__main__":
    main()
