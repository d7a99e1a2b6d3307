"""What each of several processes takes of a batch, and what their results are together."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tsrec.training.packing import IGNORED, Example, Examples


class Shares(Dataset[list[Example]]):
    """Every batch of `examples`, in their order, as the shares of `n` processes; the map-style that Trainer asks for.

    Number `k * n + rank` is the share of process `rank` in batch k, and the Trainer hands each process every n-th. It
    is empty where a batch has fewer examples.
    """

    def __init__(self, examples: Examples, batch_size: int, n: int) -> None:
        self.examples, self.batch_size, self.n = examples, batch_size, n

    def __len__(self) -> int:
        """Shares of all batches."""
        return math.ceil(len(self.examples) / self.batch_size) * self.n

    def __getitem__(self, index: int) -> list[Example]:
        """The share `index`."""
        batch, rank = divmod(index, self.n)
        end = min((batch + 1) * self.batch_size, len(self.examples))
        return [self.examples[place] for place in range(batch * self.batch_size + rank, end, self.n)]


def nothing(pad_id: int) -> Example:
    """What stands for an empty share, for every process takes part in every step: a token without a label."""
    return Example(np.array([pad_id]), np.array([IGNORED]), task=0)


def of_all_processes(outputs: dict[str, Tensor], n_tokens: Tensor, n: int) -> tuple[dict[str, Tensor], Tensor]:
    """What a model gives for a whole batch, and the batch's tokens, from those of the shares of `n` processes.

    Sums are the same in all of them. `loss` is weighted by the share's labels: averaged over processes, as gradients
    are, it is the mean over all labels of the batch.
    """
    counts = outputs["task_count"].detach()
    sums = torch.cat([outputs["task_loss"].detach(), counts, n_tokens[None]]).double()
    torch.distributed.all_reduce(sums)
    all_losses, all_counts, all_tokens = sums[: len(counts)], sums[len(counts) : -1], sums[-1]
    weight = (n * counts.sum() / all_counts.sum()).to(outputs["loss"].dtype)
    loss = outputs["loss"].masked_fill(counts.sum() == 0, 0.0) * weight  # a mean over no label is no number
    return {"loss": loss, "task_loss": all_losses, "task_count": all_counts}, all_tokens.to(n_tokens.dtype)
