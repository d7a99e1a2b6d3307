"""SASRec (arXiv 1808.09781) as a small causal transformer: one token per item, through the same packing and Trainer.

Trained with cross-entropy over all items, which is stronger than the original's one sampled negative.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaModel

from tsrec.baselines.scorer import FitInputs, Scorer
from tsrec.columns import Split
from tsrec.config import BaselinesConfig
from tsrec.histories import Histories
from tsrec.training import IGNORED, Example, Mixture, Recipe, packed_attention_mask, train

_DROPOUT = 0.3


class SasRec(nn.Module):
    """Token i + 1 is item i; token 0 is padding."""

    def __init__(self, n_items: int, config: BaselinesConfig) -> None:
        super().__init__()
        width = config.sasrec_hidden
        self.decoder = LlamaModel(
            LlamaConfig(
                vocab_size=n_items + 1,
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=config.sasrec_layers,
                num_attention_heads=2,
                num_key_value_heads=2,
            )
        )
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor, labels: Tensor, tasks: Tensor
    ) -> dict[str, Tensor]:
        """Mean cross-entropy over labelled positions; arguments are (B, T), see `tsrec.training.pack`."""
        hidden = self.hidden(input_ids, position_ids, segment_ids)
        labelled = labels != IGNORED
        logits = self.dropout(hidden[labelled]) @ self.decoder.get_input_embeddings().weight.T
        loss = functional.cross_entropy(logits.float(), labels[labelled])
        count = labelled.sum().float()[None]
        return {"loss": loss, "task_loss": loss.detach()[None] * count, "task_count": count}

    def hidden(self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor) -> Tensor:
        """(B, T, D) last hidden states."""
        return self.decoder(
            inputs_embeds=self.dropout(self.decoder.get_input_embeddings()(input_ids)),
            position_ids=position_ids,
            attention_mask=packed_attention_mask(segment_ids),
            use_cache=False,
        ).last_hidden_state


def fit(inputs: FitInputs) -> Scorer:
    """Train with early stopping on the loss of valid."""
    histories, config = inputs.histories, inputs.config
    torch.manual_seed(config.seed)
    model = SasRec(inputs.n_items, config)
    train(
        model,
        Mixture({0: (_examples(histories, Split.TRAIN, config.sasrec_window), 1.0)}, config.sasrec_epochs, config.seed),
        _examples(histories, Split.VALID, config.sasrec_window),
        _recipe(config),
        inputs.work / "sasrec",
        ["next_item"],
        pad_id=0,
    )
    model.eval()

    @torch.inference_mode()
    def score(events: np.ndarray) -> np.ndarray:
        pasts = [histories.history_of(int(event), config.sasrec_window).astype(np.int64) + 1 for event in events]
        width = max(map(len, pasts))
        ids = torch.from_numpy(np.stack([np.pad(past, (0, width - len(past))) for past in pasts]))
        positions = torch.arange(width).expand_as(ids)
        hidden = model.hidden(ids, positions, (ids > 0).long())  # (B, T, D)
        last = hidden[torch.arange(len(pasts)), torch.tensor([len(past) - 1 for past in pasts])]
        rows: Tensor = model.decoder.embed_tokens.weight
        return (last @ rows.T)[:, 1:].numpy().astype(np.float64)

    return score


def _examples(histories: Histories, split: Split, window: int) -> list[Example]:
    """Per user windows of at most `window` events, the newest one full, labelled where a target of `split` follows.

    Windows do not overlap, so that every target is learned from once, however long the history.
    """
    wanted = np.full(len(histories.items), IGNORED, dtype=np.int64)
    targets = histories.target_events(split)
    wanted[targets] = histories.items[targets] + 1
    examples = []
    for user in range(histories.n_users):
        first, stop = int(histories.offsets[user]), int(histories.offsets[user + 1])
        mine = first + np.flatnonzero(wanted[first:stop] != IGNORED)
        if not len(mine):
            continue
        # The last target is predicted, not fed; windows before the first target have nothing to learn.
        for end in range(int(mine[-1]), int(mine[0]) - 1, -window):
            start = max(first, end - window)
            ids = histories.items[start:end].astype(np.int64) + 1
            labels = wanted[start + 1 : end + 1]
            if (labels != IGNORED).any():
                examples.append(Example(ids, labels, task=0))
    return examples


def _recipe(config: BaselinesConfig) -> Recipe:
    return Recipe(
        batch_size=128,
        learning_rate=2e-3,
        warmup_steps=50,
        weight_decay=0.1,
        max_grad_norm=1.0,
        evals_per_epoch=1,
        patience=3,
        precision="float32",
        device="cpu",
        seed=config.seed,
    )
