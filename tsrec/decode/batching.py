"""How many prompts the model reads at once, and which are too long for it. Knows token counts, no tokens."""

from collections.abc import Iterator, Sequence

import numpy as np

from tsrec.decode.writer import SidWriter
from tsrec.errors import ConfigError


def check_prompts(model: SidWriter, prompts: Sequence[np.ndarray]) -> None:
    """Raise ConfigError where a prompt and a SID are together longer than the model's context."""
    longest, limit = max(map(len, prompts)), model.max_tokens
    if limit is not None and longest + model.space.n_levels - 1 > limit:
        raise ConfigError(
            f"a prompt of {longest} tokens and a SID are longer than the {limit} tokens that the model "
            "sees; lower decode.max_history"
        )


def batches_by_tokens(n_tokens: np.ndarray, max_tokens: int) -> Iterator[np.ndarray]:
    """The rows of U sequences in batches of at most `max_tokens` tokens, or of one sequence.

    Args:
        n_tokens: (U,) tokens of each sequence. All count as many as the longest of their batch, for they are padded;
            sequences of similar length share a batch.
        max_tokens: most tokens of a batch.
    """
    order = np.argsort(n_tokens, kind="stable")
    start = 0
    while start < len(order):
        fits = n_tokens[order[start:]] * np.arange(1, len(order) - start + 1) <= max_tokens
        stop = start + max(1, int(fits.sum()))  # tokens only grow, so those that fit come first
        yield order[start:stop]
        start = stop
