"""Addresses for messages and logs, without the secrets that people write into them."""

import re

_SECRET_BEFORE_HOST = re.compile(r"(\w+://)[^\s'\"/@]+@")
_SECRET_QUERY = re.compile(r"(\w+://[^\s'\"?#]*[?#])[^\s'\"]+")


def masked(text: str) -> str:
    """The text, with stars for user names, passwords and queries of addresses."""
    return _SECRET_QUERY.sub(r"\1***", _SECRET_BEFORE_HOST.sub(r"\1***@", text))
