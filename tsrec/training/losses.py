"""Cross-entropy over many rows without keeping the logits of them all."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

_LOGITS_AT_ONCE = 16_000_000  # float32: 64 MB


def chunked_cross_entropy(hidden: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    """(N,) float32 cross-entropy of `labels` (N,) among all `rows` (V, D), for `hidden` states (N, D).

    Beyond some millions of logits they are computed in chunks, and again for the backward pass, instead of kept.
    """

    def losses_of(part: Tensor, part_labels: Tensor) -> Tensor:
        return functional.cross_entropy(functional.linear(part, rows).float(), part_labels, reduction="none")

    at_once = max(1, _LOGITS_AT_ONCE // len(rows))
    if len(labels) <= at_once:
        return losses_of(hidden, labels)
    parts = zip(hidden.split(at_once), labels.split(at_once), strict=True)
    return torch.cat([checkpoint(losses_of, part, part_labels, use_reentrant=False) for part, part_labels in parts])
