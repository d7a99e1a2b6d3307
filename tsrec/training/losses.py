"""Cross-entropy over many rows without keeping the logits of them all."""

from collections.abc import Callable

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

    return losses_in_chunks(losses_of, hidden, labels, max(1, _LOGITS_AT_ONCE // len(rows)))


def sampled_cross_entropy(
    hidden: Tensor, rows: Tensor, labels: Tensor, sampled: Tensor, log_expected: Tensor
) -> Tensor:
    """(N,) float32 cross-entropy as above, estimated from S sampled rows (Bengio and Senécal 2008).

    Each sampled row's logit is lowered by `log_expected`, so that the sum over the sample is in expectation the sum
    over all rows (the "log-Q correction"). A sampled row that is the label of a state does not count for it.

    Args:
        hidden: (N, D) states.
        rows: (V, D) all rows.
        labels: (N,) int64, the right row of each state.
        sampled: (S,) int64 rows, drawn once for all states; a row may stand there several times.
        log_expected: (S,) logarithm of how often each of these is expected in such a sample.
    """
    sampled_rows = rows[sampled]

    def losses_of(part: Tensor, part_labels: Tensor) -> Tensor:
        logits = functional.linear(part, sampled_rows).float() - log_expected
        logits = logits.masked_fill(sampled == part_labels[:, None], -torch.inf)
        own = (part * rows[part_labels]).sum(dim=1, keepdim=True).float()
        return torch.cat([own, logits], dim=1).logsumexp(dim=1) - own[:, 0]

    return losses_in_chunks(losses_of, hidden, labels, max(1, _LOGITS_AT_ONCE // len(sampled)))


def losses_in_chunks(
    losses_of: Callable[[Tensor, Tensor], Tensor], hidden: Tensor, labels: Tensor, at_once: int
) -> Tensor:
    """(N,) losses of `hidden` states (N, D) and their `labels` (N,), by `losses_of` parts of `at_once` of them.

    Where there are several parts, each part's logits are computed again for the backward pass, instead of kept.
    """
    if len(labels) <= at_once:
        return losses_of(hidden, labels)
    parts = zip(hidden.split(at_once), labels.split(at_once), strict=True)
    return torch.cat([checkpoint(losses_of, part, part_labels, use_reentrant=False) for part, part_labels in parts])
