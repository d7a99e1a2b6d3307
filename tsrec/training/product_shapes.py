"""Few shapes of matrix products, where each new one costs time and memory.

On a processor torch gives products in bfloat16 to oneDNN. It makes machine code for each new shape, and keeps that of
the last thousand. Batches of as many tokens as come bring a dozen new shapes at every step. Making the code takes
milliseconds a product. Memory grew, and glibc's malloc searched ever longer: after some hundred steps of all 30 layers
for about a third of the time. Shapes that recur end that, and so does another malloc; a smaller cache does not.
"""

import torch

_MULTIPLE = 64


def rows_of_product(n: int) -> int:
    """How many rows a product of `n` rows is to have: `n`, or a multiple of 64 under autocast on a processor."""
    return -(-n // _MULTIPLE) * _MULTIPLE if torch.is_autocast_enabled("cpu") else n
