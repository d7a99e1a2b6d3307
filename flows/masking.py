"""Addresses for messages and logs, without the secrets that people write into them."""

import re

_SECRET_BEFORE_HOST = re.compile(r"(\w+://)[^\s'\"/@]+@")
_SECRET_QUERY = re.compile(r"(\w+://[^\s'\"?#]*[?#])[^\s'\"]+")


def masked(text: str) -> str:
    """The text, with stars for user names, passwords and queries of addresses."""
    return _SECRET_QUERY.sub(r"\1***", _SECRET_BEFORE_HOST.sub(r"\1***@", text))


def in_one_line(error: Exception) -> str:
    """What an error says, masked, for a line of a terminal; its class where it says nothing, as timeouts do."""
    said = " ".join(str(error).split(" - For more information")[0].split())
    return masked(said) or type(error).__name__
