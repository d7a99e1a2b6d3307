"""SASRec (arXiv 1808.09781) as a small causal transformer: one token per item, through the same packing and Trainer.

Trained with cross-entropy over all items, which is stronger than the original's one sampled negative; over a sample of
some thousand in a large catalogue. What SA-Init is to SID tokens, a start at the texts is to its item vectors: most
items have too few events to find their place alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaModel

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import SasRecConfig
from tsrec.errors import ConfigError
from tsrec.histories import Histories
from tsrec.recommenders.exact_search import ExactSearch
from tsrec.recommenders.member import FitInputs
from tsrec.recommenders.ranking import Filter, Ranked, empty_lists, nearest_items
from tsrec.sid.vectors import unit_rows
from tsrec.store import Artifact, base_role
from tsrec.training.attention import attend_by_rows, packed_states
from tsrec.training.losses import chunked_cross_entropy, sampled_cross_entropy
from tsrec.training.mixture import TaskMixture
from tsrec.training.norms import use_fast_norms
from tsrec.training.packing import IGNORED, Example

if TYPE_CHECKING:
    from tsrec.training.trainer import Recipe

_WEIGHTS = "sasrec.safetensors"
_ITEM_ROWS = "decoder.embed_tokens.weight"
_NEIGHBOURS = 5  # known items whose mean a new one starts at
_START_DEVIATION = 0.05  # of item vectors, which start at the texts; chosen on valid, random rows have 0.02
_LAYERS, _HEADS = 2, 2  # as deep as the original
_WEIGHT_DECAY = 0.1  # of AdamW, as of fine-tuning
_ALL_ITEMS_AT_MOST = 50_000  # a larger catalogue is sampled, so that a step's logits do not grow with it
_SAMPLED_ITEMS = 4_096  # a step
# Shares of the epochs and the learning rate for a warm start: at the full rate it would unlearn what it knows.
_WARM_START_EPOCHS, _WARM_START_RATE = 0.2, 0.3


@dataclass(frozen=True)
class ItemSampling:
    """Draws the items that the loss of a step compares with: `shares` (N,) float64 sum to 1, `n_drawn` of them."""

    shares: Tensor
    n_drawn: int

    @classmethod
    def by_popularity(cls, train_counts: np.ndarray, n_drawn: int) -> "ItemSampling":
        """Half of the draws by train events (N,), half uniform, so that every item is drawn now and then."""
        by_count = train_counts / max(train_counts.sum(), 1)
        return cls(torch.from_numpy((by_count + 1 / len(train_counts)) / (by_count.sum() + 1)), n_drawn)

    @cached_property
    def _cumulative(self) -> Tensor:
        return self.shares.cumsum(dim=0)

    def draw(self) -> tuple[Tensor, Tensor]:
        """(S,) int64 tokens of drawn items, and (S,) float32: the logarithm of how often each is expected."""
        places = torch.rand(self.n_drawn, dtype=torch.float64)
        items = torch.searchsorted(self._cumulative, places).clamp(max=len(self.shares) - 1)
        return items + 1, (self.n_drawn * self.shares[items]).log().float()


class SasRec(nn.Module):
    """Token i + 1 is item i; token 0 is padding."""

    def __init__(self, n_items: int, config: SasRecConfig) -> None:
        super().__init__()
        self.decoder = LlamaModel(
            LlamaConfig(
                vocab_size=n_items + 1,
                hidden_size=config.hidden,
                intermediate_size=2 * config.hidden,
                num_hidden_layers=_LAYERS,
                num_attention_heads=_HEADS,
                num_key_value_heads=_HEADS,
                max_position_embeddings=config.window,
            )
        )
        attend_by_rows(self.decoder)
        use_fast_norms(self.decoder)
        self.dropout = nn.Dropout(config.dropout)
        self.sampling: ItemSampling | None = None

    def sample(self, sampling: ItemSampling) -> None:
        """Have a step compare with some items, and train only the vectors that it reads."""
        self.sampling = sampling
        embedding = self.decoder.get_input_embeddings()
        assert isinstance(embedding, nn.Embedding)
        embedding.sparse = True

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor, labels: Tensor, tasks: Tensor
    ) -> dict[str, Tensor]:
        """Mean cross-entropy over labelled positions; arguments are (B, T), see `tsrec.training.packing`.

        It is among all items, or, where there is `sampling`, among the label and items drawn for this step.
        """
        labelled = labels != IGNORED
        own_labels = labels[labelled]
        if self.sampling:
            drawn, log_expected = self.sampling.draw()
            # What a step reads, each row once: no more is moved, or has a gradient.
            read, places = torch.cat([input_ids.flatten(), own_labels, drawn]).unique(return_inverse=True)
            rows = self.decoder.get_input_embeddings()(read)
            inputs, own_labels, drawn = places.split([input_ids.numel(), len(own_labels), len(drawn)])
            embedded = functional.embedding(inputs.view_as(input_ids), rows)
            states = self.dropout(self._hidden(embedded, position_ids, segment_ids, labelled))
            loss = sampled_cross_entropy(states, rows, own_labels, drawn, log_expected).mean()
        else:
            rows = self.decoder.get_input_embeddings().get_parameter("weight")
            states = self.dropout(self.hidden(input_ids, position_ids, segment_ids, labelled))
            loss = chunked_cross_entropy(states, rows, own_labels).mean()
        count = labelled.sum().float()[None]
        return {"loss": loss, "task_loss": loss.detach()[None] * count, "task_count": count}

    @property
    def item_vectors(self) -> Tensor:
        """(n_items, D) the parameter's rows of items, without the padding's."""
        return self.decoder.get_input_embeddings().get_parameter("weight")[1:]

    def hidden(self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor, wanted: Tensor) -> Tensor:
        """(N, D) last hidden states of the tokens that are `wanted`; arguments (B, T)."""
        return self._hidden(self.decoder.get_input_embeddings()(input_ids), position_ids, segment_ids, wanted)

    def _hidden(self, embedded: Tensor, position_ids: Tensor, segment_ids: Tensor, wanted: Tensor) -> Tensor:
        return packed_states(self.decoder, self.dropout(embedded), position_ids, segment_ids, wanted)


@dataclass(frozen=True)
class SasRecMember:
    """The trained model, and a search in its item embeddings."""

    model: SasRec
    search: ExactSearch
    window: int

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """Items by the product of their embedding with the last hidden state; nothing for an empty history."""
        with_events = np.array([row for row, past in enumerate(pasts) if len(past)], dtype=np.int64)
        ranked = empty_lists(len(pasts), k)
        if len(with_events):
            states = self._last_hidden([pasts[row][-self.window :] for row in with_events])
            ranked.items[with_events], ranked.scores[with_events] = nearest_items(
                self.search, states, k, allow.for_rows(with_events)
            )
        return ranked

    @torch.inference_mode()
    def _last_hidden(self, pasts: list[np.ndarray]) -> np.ndarray:
        width = max(map(len, pasts))
        ids = torch.from_numpy(np.stack([np.pad(past.astype(np.int64) + 1, (0, width - len(past))) for past in pasts]))
        positions = torch.arange(width).expand_as(ids)
        last = positions == torch.tensor([[len(past) - 1] for past in pasts])
        return self.model.hidden(ids, positions, (ids > 0).long(), last).numpy()


def fit(inputs: FitInputs) -> None:
    """Train on all train events, to the end: lists go on getting better when the loss on valid no longer does.

    With a base, training continues from its weights; new items start at the mean of those with similar texts.

    Raises:
        ConfigError: the base is of another size.
    """
    from tsrec.training.trainer import train  # needed to fit, not to recommend

    base = inputs.parents.get(base_role("sasrec"))
    config = _warm_start_config(inputs.config) if base else inputs.config
    torch.manual_seed(config.seed)
    model = SasRec(inputs.catalogue.n_items, config)
    if base:
        _load_base_weights(model, base, inputs)
    else:
        texts = inputs.parents["embed"].matrix("item_embeddings", C.EMBEDDING)
        with torch.no_grad():
            model.item_vectors.copy_(torch.from_numpy(principal_components(texts, config.hidden, config.seed)))
    if inputs.catalogue.n_items > _ALL_ITEMS_AT_MOST:
        model.sample(ItemSampling.by_popularity(inputs.catalogue.train_counts, _SAMPLED_ITEMS))
    examples = _examples(inputs.histories, config.window)
    order = TaskMixture({0: (examples, 1.0)}, config.epochs, config.seed)
    train(model, order, [], _recipe(config), inputs.work / "sasrec", ["next_item"], pad_id=0)
    save_file(model.state_dict(), inputs.folder / _WEIGHTS)


def _warm_start_config(config: SasRecConfig) -> SasRecConfig:
    """The settings for a training that continues from a base."""
    epochs = min(config.epochs, max(1, round(config.epochs * _WARM_START_EPOCHS)))
    return config.model_copy(update={"epochs": epochs, "learning_rate": config.learning_rate * _WARM_START_RATE})


def _load_base_weights(model: SasRec, base: Artifact, inputs: FitInputs) -> None:
    """Load the base's weights into the model; item vectors are matched by item id."""
    weights = load_file(base.file(_WEIGHTS))
    base_items = pd.Index(inputs.parents[base_role("ingest")].frame("items", [C.ITEM])[C.ITEM])
    base_rows = base_items.get_indexer(inputs.catalogue.item_ids)  # (N,) -1: the item is new
    texts = inputs.parents["embed"].matrix("item_embeddings", C.EMBEDDING)
    vectors = carry_over_vectors(weights[_ITEM_ROWS].numpy()[1:], base_rows, texts)
    weights[_ITEM_ROWS] = torch.cat([weights[_ITEM_ROWS][:1], torch.from_numpy(vectors)])
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            "members.sasrec: the champion's has another size, and a refresh cannot bridge that; give `tsrec run`, "
            "which starts anew"
        ) from error


def carry_over_vectors(trained: np.ndarray, base_rows: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Item vectors for a catalogue that has changed.

    Args:
        trained: (M, D) float32, vectors of the base's catalogue.
        base_rows: (N,) each item's row in `trained`; -1 for a new one.
        texts: (N, E) text embeddings of the catalogue as it is now.

    Returns:
        (N, D) float32: known items keep their vectors; a new one gets the mean of those with the most similar texts.
    """
    vectors = np.zeros((len(base_rows), trained.shape[1]), dtype=np.float32)
    known, new = np.flatnonzero(base_rows >= 0), np.flatnonzero(base_rows < 0)
    vectors[known] = trained[base_rows[known]]
    if len(known) and len(new):
        scaled = unit_rows(texts)
        _, similar = ExactSearch(scaled[known]).search(scaled[new], min(_NEIGHBOURS, len(known)))
        vectors[new] = vectors[known][similar].mean(axis=1)
    return vectors


def load(folder: Path, config: SasRecConfig) -> SasRecMember:
    """Open what `fit` saved."""
    weights = load_file(folder / _WEIGHTS)
    model = SasRec(len(weights[_ITEM_ROWS]) - 1, config)
    model.load_state_dict(weights)
    model.eval()
    return SasRecMember(model, ExactSearch(model.item_vectors.detach().numpy()), config.window)


def principal_components(vectors: np.ndarray, width: int, seed: int, at_once: int = _ALL_ITEMS_AT_MOST) -> np.ndarray:
    """The `width` principal components of vectors, rotated at random so that no dimension is stronger than another.

    Args:
        vectors: (N, E), finite.
        width: number of components; those that the vectors lack are 0 before the rotation.
        seed: of the rotation.
        at_once: of more vectors no whole copy is made; the signs of components may then be others.

    Returns:
        (N, width) float32 of standard deviation `_START_DEVIATION`; inner products are those of the components, up to
        one factor.
    """
    if len(vectors) > at_once:
        return _principal_components_in_blocks(vectors, width, seed, at_once)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    components = np.zeros((len(vectors), width))
    kept = min(width, len(strengths))
    components[:, :kept] = left[:, :kept] * strengths[:kept]
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))
    spread = components.std()
    scale = _START_DEVIATION / spread if spread > 0 else 0.0
    return np.asarray(scale * components @ rotation, dtype=np.float32)


def _principal_components_in_blocks(vectors: np.ndarray, width: int, seed: int, block: int) -> np.ndarray:
    """The same by the eigenvectors of the covariance, which is summed block by block."""
    n, n_dimensions = vectors.shape
    starts, mean = range(0, n, block), vectors.mean(axis=0, dtype=np.float64)
    squares = np.zeros((n_dimensions, n_dimensions))
    for start in starts:
        centred = vectors[start : start + block] - mean
        squares += centred.T @ centred
    strengths, directions = np.linalg.eigh(squares)  # the weakest first
    strengths, directions = strengths[::-1][:width], directions[:, ::-1][:, :width]
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))
    spread = float(np.sqrt(np.maximum(strengths, 0).sum() / (n * width)))
    scale = _START_DEVIATION / spread if spread > 0 else 0.0
    turned = scale * directions @ rotation[: directions.shape[1]]
    components = np.empty((n, width), dtype=np.float32)
    for start in starts:
        components[start : start + block] = (vectors[start : start + block] - mean) @ turned
    return components


def _examples(histories: Histories, window: int) -> list[Example]:
    """Per user windows of at most `window` events, the newest one full, labelled where a train target follows.

    Windows do not overlap, so that every target is learned from once, however long the history.
    """
    token_labels = np.full(len(histories.items), IGNORED, dtype=np.int64)
    targets = histories.target_events(Split.TRAIN)
    token_labels[targets] = histories.items[targets] + 1
    examples = []
    for user in range(histories.n_users):
        first, stop = int(histories.offsets[user]), int(histories.offsets[user + 1])
        user_targets = first + np.flatnonzero(token_labels[first:stop] != IGNORED)
        if not len(user_targets):
            continue
        # The last target is predicted, not fed; windows before the first target have nothing to learn.
        for end in range(int(user_targets[-1]), int(user_targets[0]) - 1, -window):
            start = max(first, end - window)
            ids = histories.items[start:end].astype(np.int64) + 1
            labels = token_labels[start + 1 : end + 1]
            if (labels != IGNORED).any():
                examples.append(Example(ids, labels, task=0))
    return examples


def _recipe(config: SasRecConfig) -> "Recipe":
    from tsrec.training.trainer import Recipe

    return Recipe(
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=50,
        weight_decay=_WEIGHT_DECAY,
        max_grad_norm=1.0,
        evals_per_epoch=1,
        patience=None,
        precision="float32",
        device="cpu",
        seed=config.seed,
    )
