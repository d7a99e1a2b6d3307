"""Few shapes of matrix products, where each new one costs time and memory.

On a processor torch gives products in bfloat16 to oneDNN. It makes machine code for each new shape, and keeps that of
the last thousand. Batches of as many tokens as come bring a dozen new shapes at every step. Making the code takes
milliseconds a product. Memory grew, and glibc's malloc searched ever longer: after some hundred steps of all 30 layers
for about a third of the time. Shapes that recur end that, and so does another malloc; a smaller cache does not.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

_MULTIPLE = 64


def rows_of_product(n: int) -> int:
    """How many rows a product of `n` rows is to have: `n`, or a multiple of 64 under autocast on a processor."""
    return -(-n // _MULTIPLE) * _MULTIPLE if torch.is_autocast_enabled("cpu") else n


def in_few_shapes(product: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """(N, K) what `product` makes of `rows` (N, D), each by itself, where it is handed as many as `rows_of_product`."""
    return product(functional.pad(rows, (0, 0, 0, rows_of_product(len(rows)) - len(rows))))[: len(rows)]
