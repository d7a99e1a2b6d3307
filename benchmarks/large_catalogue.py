"""How much memory each member takes on a large catalogue with one very long history, in a process of its own.

    python benchmarks/large_catalogue.py --items 100000 --longest 10000

Fits every member on invented events, ranks 200 items for 512 histories (the long one among them, repeats forbidden),
and prints the seconds and the peak of resident memory. The LLM is a random one of two layers: its beams and masks over
the catalogue are what is measured, not its quality.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from tsrec.columns import Split
from tsrec.config import SasRecConfig
from tsrec.histories import Histories
from tsrec.recommenders.catalogue import Catalogue
from tsrec.recommenders.member import FitInputs, Member
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.ranking import Filter, fill_with_popular
from tsrec.recommenders.stage_settings import BeamSettings
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import HistoryTokens, sid_token_ids

LLM = "tsrec"


class Embeddings:
    """Stands for the `embed` artifact: random vectors of 384 dimensions."""

    def __init__(self, n_items: int) -> None:
        self.n_items = n_items

    def matrix(self, table: str, column: str) -> np.ndarray:
        return np.random.default_rng(2).normal(size=(self.n_items, 384)).astype(np.float32)


def invented(n_items: int, n_users: int, longest: int) -> Histories:
    random = np.random.default_rng(1)
    lengths = np.append(random.integers(3, 12, n_users - 1), longest)
    items = (n_items * random.random(int(lengths.sum())) ** 2).astype(np.int32)  # some are popular
    return Histories(
        user_ids=np.array([f"u{user:07d}" for user in range(n_users)], dtype=object),
        offsets=np.append(0, np.cumsum(lengths)).astype(np.int64),
        items=items,
        splits=np.full(len(items), Split.TRAIN.value, dtype=object),
        times=np.arange(len(items)),
    )


def llm(catalogue: Catalogue) -> Member:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tsrec.recommenders.llm import Llm

    space = SidSpace((256, 256, 256))
    codes = np.random.default_rng(3).integers(0, 256, (catalogue.n_items, 3))
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=10 + space.n_tokens,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    config._attn_implementation = "sdpa"
    model = LlamaForCausalLM(config).eval()
    tokens = HistoryTokens(1, sid_token_ids(10, space, codes))
    return Llm(
        model,
        space,
        codes,
        catalogue,
        first_sid_id=10,
        tokens=tokens,
        config=BeamSettings(beams=50, device="cpu", precision="auto"),
    )


def measure(name: str, arguments: argparse.Namespace, results: "multiprocessing.SimpleQueue[str]") -> None:
    histories = invented(arguments.items, arguments.users, arguments.longest)
    ids = np.array([str(item) for item in range(arguments.items)], dtype=object)
    catalogue = Catalogue.from_events(ids, histories.items, histories.times)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if name == LLM:
            member = llm(catalogue)
        else:
            kind = MEMBERS[name]
            config = SasRecConfig(epochs=1) if name == "sasrec" else kind.config_type()
            work = Path(folder) / "work"
            work.mkdir()
            parents = {"embed": Embeddings(arguments.items)}
            kind.fit(FitInputs(histories, catalogue, config, parents, work, Path(folder)))  # type: ignore[arg-type]
            member = kind.load(Path(folder), config)
    fitted = time.monotonic()
    starts = [*histories.offsets[:63], histories.offsets[-2]]
    stops = [*histories.offsets[1:64], histories.offsets[-1]]
    pasts = [histories.items[a:b].astype(np.int64) for a, b in zip(starts, stops, strict=True)]
    for _ in range(8):
        allow = Filter(arguments.items, pasts)
        ranked = fill_with_popular(member.rank(pasts, 200, allow), catalogue.by_popularity(), allow)
        assert (ranked.items >= 0).all()
        assert not set(ranked.items[-1].tolist()) & set(pasts[-1].tolist())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    results.put(
        f"{name:16s} fit {fitted - began:7.1f} s   rank 512 {time.monotonic() - fitted:7.1f} s   peak {peak:.2f} GiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--longest", type=int, default=10_000, help="events of the longest history")
    parser.add_argument("--members", nargs="+", default=[*MEMBERS, LLM])
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for name in arguments.members:
        results = context.SimpleQueue()
        process = context.Process(target=measure, args=(name, arguments, results))
        process.start()
        process.join()
        print(results.get() if not process.exitcode else f"{name}: failed with {process.exitcode}", flush=True)


if __name__ == "__main__":
    main()
