"""Flows whose states, events and tracebacks hold no secrets of addresses: also where the parameters are refused."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Flow

from tasks.masking import masked_errors, masking_errors

P = ParamSpec("P")
R = TypeVar("R")


class _MaskedFlow(Flow[P, R]):
    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        with masked_errors():
            return super().validate_parameters(parameters)


def masked_flow(**options: Any) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Prefect's decorator `flow`, with its options, for functions whose errors are masked."""

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        return _MaskedFlow(masking_errors(function), **options)

    return decorate
