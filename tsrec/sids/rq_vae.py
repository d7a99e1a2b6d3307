"""RQ-VAE (Lee et al., CVPR 2022; as TIGER, arXiv 2305.05065, makes semantic IDs): an autoencoder with residual codes.

Encoder, decoder and codebooks are trained together: the decoder's gradient passes the codes by (straight through), the
codes follow the encodings, and the encodings are pulled to their codes. It runs on the CPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from tsrec.config import SidsConfig
from tsrec.errors import TrainingError
from tsrec.machine.progress import progress
from tsrec.sids.kmeans import kmeans, residual_kmeans
from tsrec.sids.quantization import (
    Codebooks,
    FrozenQuantizer,
    Quantization,
    Transform,
    largest_group,
    zero_rounding_errors,
)

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Recipe:
    """How an autoencoder is trained: the same for every catalogue, in half a minute on one core."""

    hidden: tuple[int, ...] = (256,)  # widths of the encoder's hidden layers; the decoder has them in reverse
    latent: int = 64  # width of what is quantized
    steps: int = 1000  # of AdamW
    batch_size: int = 1024  # items of a step, at most
    learning_rate: float = 1e-3  # the peak; cosine decay to 0
    commitment: float = 0.25  # how strongly encodings are pulled to their codes


RECIPE = Recipe()


class _Half(nn.Module):
    """A linear map plus an MLP, which starts at 0 everywhere."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.linear = nn.Linear(widths[0], widths[-1])
        layers = [layer for n_in, n_out in pairwise(widths[:-1]) for layer in (nn.Linear(n_in, n_out), nn.ReLU())]
        last = nn.Linear(widths[-2], widths[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(*layers, last)

    def forward(self, rows: Tensor) -> Tensor:
        """(N, first width) -> (N, last width)."""
        return self.linear(rows) + self.mlp(rows)


class Autoencoder(nn.Module):
    """From (N, D) to (N, latent) and back; what it sees is centred, with a mean square of 1 a dimension."""

    mean: Tensor
    scale: Tensor

    def __init__(self, n_dimensions: int, *hidden_and_latent: int) -> None:
        super().__init__()
        widths = [n_dimensions, *hidden_and_latent]
        self.encoder, self.decoder = _Half(widths), _Half(widths[::-1])
        self.register_buffer("mean", torch.zeros(n_dimensions))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def init_from_components(self, vectors: Tensor) -> Tensor:
        """Set encoder and decoder to the principal components of (N, D) `vectors`; return these, centred and scaled.

        So training starts about where k-means of the vectors ends. Encodings have a mean square of 1 a dimension, too.
        """
        self.mean.copy_(vectors.mean(dim=0))
        self.scale.copy_((vectors - self.mean).square().mean().sqrt())
        inputs = (vectors - self.mean) / self.scale
        variances, components = torch.linalg.eigh(inputs.T @ inputs / len(inputs))
        n_latent = self.encoder.linear.out_features
        main = components.flip(1)[:, :n_latent]  # (D, at most latent)
        spread = variances.flip(0)[:n_latent].sum().div(n_latent).sqrt()
        for half, rows in ((self.encoder, main.T / spread), (self.decoder, main * spread)):
            weight = half.linear.weight.zero_()
            weight[: rows.shape[0], : rows.shape[1]] = rows
            half.linear.bias.zero_()
        return inputs


@dataclass(frozen=True)
class AutoencoderTransform(Transform):
    """A trained autoencoder as what codebooks need."""

    model: Autoencoder

    @torch.inference_mode()
    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, latent)."""
        model = self.model
        return _in_batches(lambda part: model.encoder((part - model.mean) / model.scale), vectors)

    @torch.inference_mode()
    def decode(self, latents: np.ndarray) -> np.ndarray:
        """(N, latent) -> (N, D)."""
        model = self.model
        return _in_batches(lambda part: model.decoder(part) * model.scale + model.mean, latents)

    def save(self, path: Path) -> None:
        """Write all weights."""
        save_file(self.model.state_dict(), path)


def load(path: Path) -> AutoencoderTransform:
    """Read what `AutoencoderTransform.save` wrote."""
    weights = load_file(path)
    layers = [name for name in weights if name.startswith("encoder.mlp.") and name.endswith(".weight")]
    in_order = sorted(layers, key=lambda name: int(name.split(".")[2]))
    model = Autoencoder(len(weights["mean"]), *(len(weights[name]) for name in in_order))
    model.load_state_dict(weights)
    return AutoencoderTransform(model.eval())


def rq_vae(vectors: np.ndarray, config: SidsConfig, recipe: Recipe = RECIPE) -> Quantization:
    """Train on (N, D) float32 vectors and quantize their encodings; deterministic in the seed.

    The levels have as many codes as k-means would give them. Where SIDs have to be unique and more items share a prefix
    than the last level has codes, that level is clustered once more, with as many as are needed.

    Raises:
        TrainingError: the loss, or an item's residual, is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model, books, n_restarted = _train(torch.tensor(vectors, dtype=torch.float32), config, recipe)
    quantizer = FrozenQuantizer(codebooks=books, transform=AutoencoderTransform(model))
    codes, errors = quantizer.quantize(vectors)
    if not np.isfinite(errors).all():  # the last step may cause that, after a finite loss
        raise _diverged("what its codes leave of some items is no number after the last step")
    needed = largest_group(codes[:, :-1]) if config.unique else 0
    n_codes = min(needed, config.codes_per_level[-1])
    if n_codes > len(books[-1]):
        seed = config.seed + len(books)
        books[-1] = kmeans(quantizer.last_residuals(vectors, codes), n_codes, seed, from_items=False)
        codes, errors = quantizer.quantize(vectors)
    means = zero_rounding_errors(errors.mean(axis=0, dtype=np.float64).tolist(), quantizer.transform.encode(vectors))
    counts = {"n_codes_restarted": n_restarted}
    return Quantization(codes=codes, codebooks=books, errors=means, transform=quantizer.transform, counts=counts)


def _train(vectors: Tensor, config: SidsConfig, recipe: Recipe) -> tuple[Autoencoder, list[np.ndarray], int]:
    generator = torch.Generator().manual_seed(config.seed)
    model = Autoencoder(vectors.shape[1], *recipe.hidden, recipe.latent)
    inputs = model.init_from_components(vectors)
    books = [nn.Parameter(torch.from_numpy(book)) for book in _initial_codebooks(model, vectors, config)]
    optimizer = torch.optim.AdamW([*model.parameters(), *books], lr=recipe.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    uses = [torch.zeros(len(book), dtype=torch.int64) for book in books]
    n_batches, n_restarted = -(-len(inputs) // recipe.batch_size), 0
    for step in progress(range(recipe.steps), desc="training RQ-VAE", unit="step"):
        if step % n_batches == 0:
            order = torch.randperm(len(inputs), generator=generator)
        batch = inputs[order[step % n_batches :: n_batches]]  # (B, D)
        latents = model.encoder(batch)
        quantized, codes, code_loss = _straight_through(latents, books, recipe.commitment)
        loss = functional.mse_loss(model.decoder(quantized), batch) + code_loss
        if not torch.isfinite(loss):
            raise _diverged(f"step {step + 1} of {recipe.steps}: the loss is {float(loss.detach())}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        for level, chosen in enumerate(codes):
            uses[level] += torch.bincount(chosen, minlength=len(books[level]))
        if (step + 1) % n_batches == 0:
            n_restarted += _restart_dead_codes(books, uses, latents.detach(), generator)
    return model.eval(), [book.detach().numpy().copy() for book in books], n_restarted


def _diverged(what: str) -> TrainingError:
    return TrainingError(f"RQ-VAE, {what}; take another sids.quantizer")


def _initial_codebooks(model: Autoencoder, vectors: Tensor, config: SidsConfig) -> Codebooks:
    """Initial codebooks: k-means of the first encodings, level by level."""
    return residual_kmeans(AutoencoderTransform(model).encode(vectors.numpy()), config).codebooks


def _straight_through(
    latents: Tensor, books: Sequence[Tensor], commitment: float
) -> tuple[Tensor, list[Tensor], Tensor]:
    """(N, Z) the codes' vectors with the gradient of `latents`; (N,) codes of each level; and the codes' loss."""
    residuals, loss, codes = latents, latents.new_zeros(()), []
    for book in books:
        chosen = torch.cdist(residuals.detach(), book.detach()).argmin(dim=1)
        nearest = book[chosen]
        loss = loss + functional.mse_loss(nearest, residuals.detach())
        loss = loss + commitment * functional.mse_loss(residuals, nearest.detach())
        residuals = residuals - nearest.detach()
        codes.append(chosen)
    return latents - residuals.detach(), codes, loss


@torch.no_grad()
def _restart_dead_codes(
    books: Sequence[Tensor], uses: Sequence[Tensor], latents: Tensor, generator: torch.Generator
) -> int:
    """Move codes unused since the last call to residuals of random items of the batch; returns how many."""
    residuals, n_restarted = latents, 0
    for book, used in zip(books, uses, strict=True):
        dead = torch.nonzero(used == 0).flatten()
        book[dead] = residuals[torch.randint(len(residuals), (len(dead),), generator=generator)]
        residuals = residuals - book[torch.cdist(residuals, book).argmin(dim=1)]
        n_restarted += len(dead)
        used.zero_()
    return n_restarted


def _in_batches(compute: Callable[[Tensor], Tensor], rows: np.ndarray) -> np.ndarray:
    parts = torch.tensor(rows, dtype=torch.float32).split(_ROWS_AT_ONCE)
    return torch.cat([compute(part) for part in parts]).numpy()
