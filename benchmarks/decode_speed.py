"""Shared-prefix beams against `generate` with a prefix function: the same top-10, how much sooner?

    python -m benchmarks.decode_speed --layers 6 --beams 50 --prompt 100

On a random Llama of SmolLM2-135M's shape (hidden 576, 9 heads, 3 for keys and values) over a random catalogue. Both
decode the same users in turn, in one process; prints the median seconds per user of each, their ratio, and for how
many users the top-10 is the same. `generate` gets every user in a batch of its own and all of them in one batch; the
faster counts. Beams in bfloat16, as on processors that multiply it natively, stand beside those in float32. Exits with
status 1 where a top-10 differs.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.decode.reference import N_TEXT, generated
from tsrec.decode.beam import BeamSearch
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel
from tsrec.machine.devices import resolve_device
from tsrec.sid.space import SidSpace

SPACE = SidSpace((256, 256, 256))
N_BEST = 10


def random_model(n_layers: int, device: torch.device) -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=N_TEXT + SPACE.n_tokens,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=n_layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        initializer_range=0.06,  # scores spread enough that no two beams tie
    )
    model: Any = LlamaForCausalLM(config).eval()  # its types know no device of torch's
    return model.to(device)


def where(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"


def seconds_per_user(decode: Callable[[], np.ndarray], n_users: int) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    found = decode()
    return (time.perf_counter() - began) / n_users, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--beams", type=int, default=50)
    parser.add_argument("--prompt", type=int, default=100, help="tokens per prompt")
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--users", type=int, default=8, help="users decoded at once")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1 ...")
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    codes = np.stack([random.integers(0, size, arguments.items) for size in SPACE.sizes], axis=1)
    prompts = random.integers(0, N_TEXT + SPACE.n_tokens, (arguments.users, arguments.prompt))
    model, trie = random_model(arguments.layers, resolve_device(arguments.device)), Trie.build(codes)
    writers = (ExportedModel(model, SPACE, N_TEXT, precision) for precision in (None, torch.bfloat16))
    exact, rough = (BeamSearch(writer, trie) for writer in writers)
    first_item = trie.items[trie.item_start[:-1]]

    def shared(search: BeamSearch) -> np.ndarray:
        return codes[first_item[search.search(list(prompts), arguments.beams).leaves[:, :N_BEST]]]

    def batched() -> np.ndarray:
        return generated(model, prompts, codes, SPACE, arguments.beams, N_BEST)[0]

    def one_by_one() -> np.ndarray:
        lists = [generated(model, prompt[None], codes, SPACE, arguments.beams, N_BEST)[0] for prompt in prompts]
        return np.concatenate(lists)

    methods: dict[str, Callable[[], np.ndarray]] = {
        "shared prefix": partial(shared, exact),
        "the same in bfloat16": partial(shared, rough),
        "generate, batched": batched,
        "generate, one by one": one_by_one,
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    found: dict[str, np.ndarray] = {}
    for repeat in range(arguments.repeats + 1):
        for name, decode in methods.items():
            taken, found[name] = seconds_per_user(decode, arguments.users)
            if repeat:  # the first round only warms up
                seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        low, high = min(seconds[name]), max(seconds[name])
        print(f"{name:22s} median {1000 * median:8.1f} ms a user ({1000 * low:.1f} to {1000 * high:.1f})")
    best = min(median for name, median in medians.items() if name.startswith("generate"))
    same = (found["shared prefix"] == found["generate, one by one"]).all(axis=(1, 2))
    print(f"ratio to the faster generate: {best / medians['shared prefix']:.1f}; {where(model.device)}")
    print(f"bfloat16 is {medians['shared prefix'] / medians['the same in bfloat16']:.1f} times as fast as float32")
    print(f"same top-{N_BEST}: {int(same.sum())} of {arguments.users} users")
    sys.exit(0 if same.all() else 1)


if __name__ == "__main__":
    main()
