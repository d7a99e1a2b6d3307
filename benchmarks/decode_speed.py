"""Shared-prefix beams against `generate` with a prefix function: the same top-10, how much sooner?

    python -m benchmarks.decode_speed
    python -m benchmarks.decode_speed --sids 10000000

The first command prints a row for each number of layers, prompt length and precision. It uses a random Llama of
SmolLM2-135M's shape: hidden 576, 9 heads, 3 for keys and values, 49,152 tokens of text. The catalogue is random too.
Both decode the same users in turn, in one process, with the same weights. `generate` gets every user in a batch of
its own and all of them in one batch; the faster counts. A row holds:

- the median milliseconds per user of each, and their ratio
- for how many users the top-10 is the same, and the share of its SIDs that both have
- users a second with 20 beams

Exits with status 1 where a top-10 differs in float32.

The second prints how long the trie of so many random SIDs takes to build and the peak of memory. Then it compares
steps over it with steps over ten thousand SIDs.

On a processor, times are those of the processor: what else runs does not count. Users a second are then those of as
many cores as torch has threads.
"""

import argparse
import itertools
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.decode.reference import generated
from tsrec.decode.beam import BeamSearch
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel
from tsrec.machine.devices import resolve_device
from tsrec.sid.space import SidSpace

SPACE = SidSpace((256, 256, 256))
N_TEXT = 49_152  # SmolLM2's own tokens; those of SIDs follow
N_BEST = 10
DTYPES = (torch.float32, torch.bfloat16)


def random_model(n_layers: int, device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
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
    return model.to(device, dtype)


def where(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"


def medians(methods: dict[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, tuple[float, Any]]:
    """Each method's median seconds, in turns, and what it gave last."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    found = {}
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for _ in range(repeats + 1):
        for name, decode in methods.items():
            began = clock()
            found[name] = decode()
            seconds[name].append(clock() - began)
    return {name: (statistics.median(taken[1:]), found[name]) for name, taken in seconds.items()}  # the first warms up


def random_sids(n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, SPACE.sizes[0], (n, SPACE.n_levels))


def against_generate(n_layers: int, length: int, dtype: torch.dtype, arguments: argparse.Namespace) -> bool:
    """Print a row; whether all users' top-10 are the same."""
    device, n_users = resolve_device(arguments.device), arguments.users
    codes = random_sids(arguments.items)
    prompts = np.random.default_rng(2).integers(0, N_TEXT + SPACE.n_tokens, (n_users, length))
    model, trie = random_model(n_layers, device, dtype), Trie.build(codes)
    search = BeamSearch(ExportedModel(model, SPACE, N_TEXT), trie)
    first_item = trie.items[trie.item_start[:-1]]

    def shared() -> np.ndarray:
        return codes[first_item[search.search(list(prompts), arguments.beams).leaves[:, :N_BEST]]]

    def batched() -> np.ndarray:
        return generated(model, prompts, codes, SPACE, arguments.beams, N_BEST, N_TEXT)[0]

    def one_by_one() -> np.ndarray:
        lists = [generated(model, prompt[None], codes, SPACE, arguments.beams, N_BEST, N_TEXT)[0] for prompt in prompts]
        return np.concatenate(lists)

    methods = {"shared": shared, "batched": batched, "one by one": one_by_one}
    found = medians(methods, arguments.repeats, device)
    (ours, mine), generate = found["shared"], min(found["batched"][0], found["one by one"][0])
    theirs = found["one by one"][1]
    same = (mine == theirs).all(axis=(1, 2))
    shared_items = (mine[:, :, None] == theirs[:, None]).all(axis=3).any(axis=2).mean()
    many = list(np.tile(prompts, (-(-32 // n_users), 1)))
    rate = {"20 beams": lambda: search.search_in_batches(many, 20, arguments.batch_tokens)}
    seconds = medians(rate, arguments.repeats, device)["20 beams"][0]
    a_second = (1 if device.type == "cuda" else torch.get_num_threads()) * len(many) / seconds
    name = str(dtype).removeprefix("torch.")
    print(
        f"| {n_layers} | {length} | {name} | {1000 * generate / n_users:.0f} | {1000 * ours / n_users:.1f} | "
        f"{generate / ours:.1f} | {int(same.sum())} of {n_users}, {shared_items:.1%} | {a_second:.0f} |",
        flush=True,
    )
    return bool(same.all())


def large_trie(n_sids: int, arguments: argparse.Namespace) -> None:
    """Print what the trie of so many SIDs takes, and its steps against those over few."""
    device = resolve_device(arguments.device)
    codes = random_sids(n_sids)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    large = Trie.build(codes)
    seconds, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{n_sids:,} SIDs, a trie in {seconds:.1f} s; peak {peak / 2**20:.2f} GiB, {before / 2**20:.2f} before")
    few = Trie.build(codes[:10_000])
    prompts = [np.array([user]) for user in range(arguments.users)]  # of one token: what is left are steps
    blocked = [np.random.default_rng(user).integers(0, 10_000, 100) for user in range(arguments.users)]
    for n_layers, dtype in itertools.product(arguments.layers, DTYPES):
        writer = ExportedModel(random_model(n_layers, device, dtype), SPACE, N_TEXT)
        searches = {"large": BeamSearch(writer, large), "few": BeamSearch(writer, few)}
        for name, items in (("none", None), ("100 items", blocked)):
            methods: dict[str, Callable[[], Any]] = {
                size: partial(search.search, prompts, arguments.beams, items) for size, search in searches.items()
            }
            found = medians(methods, 5 * arguments.repeats, device)
            ratio = found["large"][0] / found["few"][0]
            print(f"{n_layers} layers, {dtype}, blocked: {name}: {ratio:.2f} of the time over 10,000 SIDs", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 30])
    parser.add_argument("--prompts", type=int, nargs="+", default=[100, 40], help="tokens per prompt")
    parser.add_argument("--beams", type=int, default=50)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--users", type=int, default=4, help="users decoded at once")
    parser.add_argument("--batch-tokens", type=int, default=2048, help="tokens at once, for users a second")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--sids", type=int, help="build the trie of so many instead")
    arguments = parser.parse_args()
    if arguments.sids:
        large_trie(arguments.sids, arguments)
        return
    print(f"{arguments.beams} beams, {where(resolve_device(arguments.device))}")
    print(
        "| layers | prompt | precision | generate, ms a user | beams, ms a user | ratio | same top-10 | users/s at 20 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    same = True
    for n_layers, length, dtype in itertools.product(arguments.layers, arguments.prompts, DTYPES):
        same &= against_generate(n_layers, length, dtype, arguments) or dtype != torch.float32
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
