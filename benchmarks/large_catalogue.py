"""How much memory each member takes on a large catalogue with one very long history, in a process of its own.

    python benchmarks/large_catalogue.py --items 100000 --longest 10000

Fits every member on invented events, ranks 200 items for 512 histories (the long one among them, repeats forbidden),
and prints the seconds and the peak of resident memory. The LLM is a random one of two layers: its beams and masks over
the catalogue are what is measured, not its quality.

    python -m benchmarks.large_catalogue --sids 10000 100000 1000000 --quantizer residual-kmeans

Instead, gives so many invented vectors of 384 dimensions unique SIDs, with `--codes` on the three levels; prints
seconds, processor seconds and the peak, which holds the vectors, and how these grow: 1 is in proportion to the items.

    python -m benchmarks.large_catalogue --texts 20000 200000 --encoder static-minilm-l6-v2

Instead, runs the embed stage on so many invented descriptions of 100 words.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import SasRecConfig, SidsConfig
from tsrec.embed import EmbedSettings
from tsrec.embed.stage import run as embed
from tsrec.histories import Histories
from tsrec.recommenders.catalogue import Catalogue
from tsrec.recommenders.member import FitInputs, Member
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.ranking import Filter, fill_with_popular
from tsrec.recommenders.stage_settings import BeamSettings
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import HistoryTokens, sid_token_ids
from tsrec.sids.collisions import count_colliding, unique_codes
from tsrec.sids.health import check_health, codebook_health
from tsrec.sids.quantizer_registry import QUANTIZERS, fit_quantizer
from tsrec.store import ArtifactWriter

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


class Texts:
    """Stands for the `ingest` artifact: descriptions of 100 words, of 20,000 the first being the most frequent."""

    def __init__(self, n_items: int) -> None:
        random = np.random.default_rng(4)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        words = ["".join(random.choice(letters, random.integers(3, 9))) for _ in range(20_000)]
        chosen = ((20_000 * random.random((100, n_items)) ** 4).astype(np.int16)).T
        self.texts = [" ".join([words[word] for word in row]) for row in chosen.tolist()]

    def frame(self, table: str, columns: list[str]) -> pd.DataFrame:
        return pd.DataFrame({C.ITEM: [f"i{item}" for item in range(len(self.texts))], C.TEXT: self.texts})


def measure_texts(n_items: int, arguments: argparse.Namespace, results: "multiprocessing.SimpleQueue[Any]") -> None:
    parents: Any = {"ingest": Texts(n_items)}
    texts_only = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    config = EmbedSettings(encoder=arguments.encoder, device="cpu")
    began, processor = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        out = ArtifactWriter(Path(folder))
        embed(config, parents, out).write()
    seconds, processor = time.monotonic() - began, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{n_items:9,d} texts: {seconds:7.1f} s, {processor:7.1f} processor s, peak {peak:.2f} GiB, "
        f"{texts_only:.2f} before the stage began; {out.counts}",
        flush=True,
    )
    results.put((processor, peak))


def mixture(n_items: int) -> np.ndarray:
    """(N, 384) float32 of length 1: departments of unequal size, each of 50 categories, and items around these."""
    random = np.random.default_rng(5)
    departments, categories = (random.normal(size=(n, 384)).astype(np.float32) for n in (200, 10_000))
    vectors = np.empty((n_items, 384), dtype=np.float32)
    for start in range(0, n_items, 50_000):
        part = vectors[start : start + 50_000]
        department = (200 * random.random(len(part)) ** 2).astype(np.int64)  # the first are the largest
        category = 50 * department + random.integers(0, 50, len(part))
        part[:] = departments[department] + 0.7 * categories[category]
        part += 0.7 * random.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def measure_sids(n_items: int, arguments: argparse.Namespace, results: "multiprocessing.SimpleQueue[Any]") -> None:
    vectors = mixture(n_items)
    config = SidsConfig(quantizer=arguments.quantizer, codes_per_level=tuple(arguments.codes))
    began, processor = time.monotonic(), time.process_time()
    quantization = fit_quantizer(vectors, config)
    health = codebook_health(quantization.codes, quantization.sizes, quantization.errors)
    check_health(health, n_items, config)
    errors = quantization.reconstruction_errors(vectors, quantization.codes, vectors.shape[1])
    fitted = time.process_time() - processor
    codes, n_moved = unique_codes(quantization, vectors)
    assert not count_colliding(codes)
    seconds, processor = time.monotonic() - began, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{n_items:9,d} items: {seconds:7.1f} s, {processor:7.1f} processor s ({fitted:.1f} before collisions), peak "
        f"{peak:.2f} GiB; {n_moved:,} moved, {errors.mean():.3f} unexplained, "
        f"perplexity {', '.join(f'{value:.0f}' for value in health['perplexity'])}",
        flush=True,
    )
    results.put((processor, peak))


def growth(measure: Callable[..., None], sizes: list[int], arguments: argparse.Namespace) -> None:
    context = multiprocessing.get_context("spawn")
    figures = []
    for n_items in sizes:
        results = context.SimpleQueue()
        process = context.Process(target=measure, args=(n_items, arguments, results))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{n_items} items: failed with {process.exitcode}")
        figures.append(results.get())
    if len(figures) > 1:
        slopes = np.diff(np.log(figures), axis=0) / np.diff(np.log(sizes))[:, None]
        for what, slope in zip(("processor time", "peak"), slopes.T, strict=True):
            print(f"log-log slope of {what}: {', '.join(f'{value:.2f}' for value in slope)}")


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
    parser.add_argument("--sids", nargs="+", type=int, default=[], metavar="ITEMS")
    parser.add_argument("--texts", nargs="+", type=int, default=[], metavar="ITEMS")
    parser.add_argument("--encoder", default="auto")
    parser.add_argument("--quantizer", default="residual-kmeans", choices=list(QUANTIZERS))
    parser.add_argument("--codes", nargs="+", type=int, default=[256, 256, 256], metavar="CODES")
    arguments = parser.parse_args()
    if arguments.sids or arguments.texts:
        growth(measure_sids, arguments.sids, arguments)
        growth(measure_texts, arguments.texts, arguments)
        return
    context = multiprocessing.get_context("spawn")
    for name in arguments.members:
        results = context.SimpleQueue()
        process = context.Process(target=measure, args=(name, arguments, results))
        process.start()
        process.join()
        print(results.get() if not process.exitcode else f"{name}: failed with {process.exitcode}", flush=True)


if __name__ == "__main__":
    main()
