"""Products have few shapes where oneDNN makes code for each, and their own everywhere else."""

import torch

from tsrec.training.product_shapes import in_few_shapes, rows_of_product


def test_numbers_are_rounded_up_under_autocast_alone() -> None:
    assert [rows_of_product(n) for n in (0, 1, 64, 65)] == [0, 1, 64, 65]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert [rows_of_product(n) for n in (0, 1, 64, 65)] == [0, 64, 64, 128]


def test_a_product_of_rounded_rows_gives_its_own_rows_and_gradient() -> None:
    handed = []

    def product(rows: torch.Tensor) -> torch.Tensor:
        handed.append(len(rows))
        return rows @ weight

    rows, weight = torch.randn(70, 3, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    expected = torch.autograd.grad((rows @ weight).square().sum(), (rows, weight))
    for autocast, n in ((False, 70), (True, 128)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            found = in_few_shapes(product, rows)
        assert handed.pop() == n
        torch.testing.assert_close(found.float(), (rows @ weight), atol=0.05, rtol=0.05)
        if not autocast:
            torch.testing.assert_close(torch.autograd.grad(found.square().sum(), (rows, weight)), expected)
