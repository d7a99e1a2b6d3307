"""Words for terminals, without the secrets in addresses."""

from tasks.masking import masked
from tsrec import errors

__all__ = ["in_one_line", "masked"]


def in_one_line(error: Exception) -> str:
    """What an error says, masked, for a line of a terminal; its class where it says nothing, as timeouts do."""
    return masked(errors.in_one_line(error).split(" - For more information")[0])
