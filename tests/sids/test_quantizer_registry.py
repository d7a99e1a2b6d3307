"""Every quantizer: the seed decides, groups are told apart, and what is saved assigns as what was fitted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keys import key_of
from tsrec.config import SidsConfig
from tsrec.errors import ConfigError, TrainingError
from tsrec.sids import quantization, quantizer_registry
from tsrec.sids.collisions import unique_codes
from tsrec.sids.health import codebook_health
from tsrec.sids.opq import opq
from tsrec.sids.quantization import Quantization
from tsrec.sids.quantizer_registry import QUANTIZERS, fit_quantizer, open_quantizer, save_quantizer
from tsrec.sids.rq_vae import Recipe, rq_vae
from tsrec.store import ArtifactStore

GROUPS, EACH = 8, 25
QUICK = Recipe(hidden=(32,), latent=8, steps=120, batch_size=64)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """(200, 13) float32 in 8 far-apart groups, one after another."""
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(GROUPS, 13)) * 4
    return (np.repeat(centres, EACH, axis=0) + generator.normal(size=(GROUPS * EACH, 13))).astype(np.float32)


def _config(quantizer: str, **more: Any) -> SidsConfig:
    return SidsConfig.model_validate({"quantizer": quantizer, "codes_per_level": (8, 8, 16), **more})


def _fit(vectors: np.ndarray, config: SidsConfig) -> Quantization:
    if config.quantizer == "rq-vae":
        return rq_vae(vectors, config, QUICK)
    return QUANTIZERS[config.quantizer].fit(vectors, config)


def _unexplained(vectors: np.ndarray, made: Quantization) -> float:
    left = made.reconstruction_errors(vectors, made.codes, vectors.shape[1]).sum()
    return float(left / np.square(vectors - vectors.mean(axis=0)).sum())


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_the_seed_decides_everything(vectors: np.ndarray, quantizer: str) -> None:
    before = vectors.copy()
    first, again = (_fit(vectors, _config(quantizer)) for _ in range(2))
    np.testing.assert_array_equal(first.codes, again.codes)
    for mine, same in zip(first.codebooks, again.codebooks, strict=True):
        assert mine.tobytes() == same.tobytes()
    other = _fit(vectors, _config(quantizer, seed=2))
    assert (first.codebooks[0] != other.codebooks[0]).any()
    np.testing.assert_array_equal(vectors, before)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_groups_are_told_apart_by_codes_that_are_all_used(vectors: np.ndarray, quantizer: str) -> None:
    made = _fit(vectors, _config(quantizer))
    assert made.codes.shape == (GROUPS * EACH, 3)
    assert made.sizes == (8, 8, 16)
    health = codebook_health(made.codes, made.sizes, made.errors)
    assert (health["perplexity"] > health["n_codes"] * 0.4).all()
    assert (health["utilization"] > 0.8).all()
    whole = {tuple(codes) for codes in made.codes}
    by_group = [{tuple(codes) for codes in group} for group in made.codes.reshape(GROUPS, EACH, 3)]
    assert sum(map(len, by_group)) == len(whole)  # no two groups have a SID in common
    assert _unexplained(vectors, made) < 0.15
    # What is measured is what the codes do, level by level.
    assert made.errors == sorted(made.errors, reverse=True)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_what_was_saved_assigns_as_what_was_fitted(tmp_path: Path, vectors: np.ndarray, quantizer: str) -> None:
    config = _config(quantizer)
    made = _fit(vectors, config)
    artifact = ArtifactStore(tmp_path).build(key_of("sids"), lambda out: save_quantizer(made, out))
    frozen = open_quantizer(artifact, config)
    codes, errors = frozen.quantize(vectors)
    np.testing.assert_array_equal(codes, made.codes)
    np.testing.assert_allclose(errors.mean(axis=0), made.errors, rtol=1e-4)
    summed = sum(book[codes[:, level]] for level, book in enumerate(made.codebooks))
    left = np.square(vectors - made.transform.decode(summed))
    np.testing.assert_allclose(frozen.reconstruction_errors(vectors, codes, 13), left.sum(axis=1), rtol=1e-3)
    np.testing.assert_allclose(frozen.reconstruction_errors(vectors, codes, 5), left[:, :5].sum(axis=1), rtol=1e-3)
    before_last = made.codebooks[0][codes[:, 0]] + made.codebooks[1][codes[:, 1]]
    residuals = frozen.last_residuals(vectors, codes)
    np.testing.assert_allclose(residuals, made.transform.encode(vectors) - before_last, atol=1e-4)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_part_by_part_gives_what_all_at_once_gives(
    monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray, quantizer: str
) -> None:
    made = _fit(vectors, _config(quantizer))
    whole = (*made.quantize(vectors), made.reconstruction_errors(vectors, made.codes, 13), *unique_codes(made, vectors))
    monkeypatch.setattr(quantization, "ROWS_AT_ONCE", 64)
    parts = (*made.quantize(vectors), made.reconstruction_errors(vectors, made.codes, 13), *unique_codes(made, vectors))
    for all_at_once, part_by_part in zip(whole, parts, strict=True):
        np.testing.assert_allclose(part_by_part, all_at_once, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quantizer", sorted(set(QUANTIZERS) - {"rq-vae"}))
def test_a_large_catalogue_is_assigned_by_what_a_sample_taught(
    monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray, quantizer: str
) -> None:
    config = _config(quantizer)
    of_all = QUANTIZERS[quantizer].fit(vectors, config)
    monkeypatch.setattr(quantizer_registry, "_FITTED_PER_CODE", 1)
    monkeypatch.setattr(quantizer_registry, "_MAX_FITTED", len(vectors))
    same = fit_quantizer(vectors, config)  # as many as may be: all of them
    np.testing.assert_array_equal(same.codes, of_all.codes)
    monkeypatch.setattr(quantizer_registry, "_MAX_FITTED", 100)
    sampled, again = fit_quantizer(vectors, config), fit_quantizer(vectors, config)
    np.testing.assert_array_equal(sampled.codes, again.codes)
    assert sampled.codes.shape == of_all.codes.shape and sampled.sizes == of_all.sizes
    assert _unexplained(vectors, of_all) < _unexplained(vectors, sampled) < 0.3
    assert sampled.errors[-1] == pytest.approx(sampled.quantize(vectors)[1][:, -1].mean(), rel=1e-4)


def test_levels_of_opq_know_nothing_of_one_another(vectors: np.ndarray) -> None:
    made = opq(vectors, _config("opq"))
    latents = made.transform.encode(vectors)
    for level, book in enumerate(made.codebooks):  # 13 dimensions, filled to 15: 5 a level
        own = slice(5 * level, 5 * level + 5)
        assert not np.delete(book, own, axis=1).any()
        alone = np.square(latents[:, None, own] - book[None, :, own]).sum(axis=2).argmin(axis=1)
        np.testing.assert_array_equal(made.codes[:, level], alone)


@settings(max_examples=10, deadline=None)
@given(n_items=st.integers(2, 30), width=st.integers(3, 12), seed=st.integers(0, 99))
def test_rotating_there_and_back_changes_nothing(n_items: int, width: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n_items, width)).astype(np.float32)
    transform = opq(rows, _config("opq", seed=seed)).transform
    latents = transform.encode(rows)
    np.testing.assert_allclose(transform.decode(latents), rows, atol=1e-4)
    np.testing.assert_allclose(np.square(latents).sum(axis=1), np.square(rows).sum(axis=1), rtol=1e-3)


def test_more_levels_than_dimensions_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"has 3 levels, and opq shares 2 dimensions out"):
        opq(vectors[:, :2], _config("opq"))


def test_training_finds_what_no_main_component_shows() -> None:
    # A curve in six dimensions, of which one number is left: the straight start cannot follow it, the trained MLP can.
    place = np.linspace(-1, 1, 200)[:, None]
    curve = np.hstack([np.sin(place * turn + turn) for turn in range(1, 7)]).astype(np.float32)

    def unexplained(steps: int) -> float:
        own = Recipe(hidden=(32,), latent=1, steps=steps, batch_size=100, learning_rate=1e-2)
        return _unexplained(curve, rq_vae(curve, _config("rq-vae", codes_per_level=(8, 8)), own))

    assert unexplained(200) < 0.6 * unexplained(1)


def test_codes_that_no_item_chooses_start_again(vectors: np.ndarray) -> None:
    # Fewer different items than codes: what is left of most is the same nothing.
    few = rq_vae(np.repeat(vectors[:4], 10, axis=0), _config("rq-vae", codes_per_level=(32, 32)), QUICK)
    assert few.counts["n_codes_restarted"] > 0


def test_training_leaves_the_random_numbers_of_others_alone(vectors: np.ndarray) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    rq_vae(vectors, _config("rq-vae"), replace(QUICK, steps=2))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("steps", "what"), [(120, r"step \d+ of 120: the loss is \w+"), (1, "what its codes leave")])
def test_a_training_that_diverges_is_told(vectors: np.ndarray, steps: int, what: str) -> None:
    with pytest.raises(TrainingError, match=rf"RQ-VAE, {what}.*; take another sids\.quantizer"):
        rq_vae(vectors, _config("rq-vae"), replace(QUICK, learning_rate=1e30, steps=steps))
