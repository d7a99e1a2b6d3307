"""Products have few shapes where oneDNN makes code for each, and their own everywhere else."""

import torch

from tsrec.training.product_shapes import rows_of_product


def test_numbers_are_rounded_up_under_autocast_alone() -> None:
    assert [rows_of_product(n) for n in (0, 1, 64, 65)] == [0, 1, 64, 65]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert [rows_of_product(n) for n in (0, 1, 64, 65)] == [0, 64, 64, 128]
