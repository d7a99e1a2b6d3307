"""What the address of an endpoint may look like: so plain that no two programs read it differently, and no secrets."""

import re
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?(/[A-Za-z0-9._~:+=,/-]*)?")


def address_problem(url: str) -> str | None:
    """What is wrong with `url`, or None. The answer never repeats any of it: it may hold a key."""
    if re.search(r"[@?#]", url):
        return "must not hold a user name, a password, a query or a fragment: keys do not belong into addresses"
    if not _ADDRESS.fullmatch(url) or not 0 < _port(url) < 65536:
        return "is not of the form http(s)://host[:port][/path], in plain letters and digits"
    try:
        urlsplit(url)
    except ValueError:  # in brackets, and no address of IPv6
        return "has a host in brackets that is no IPv6 address"
    if {".", ".."} & set(url.split("/")):
        return "must not go up in its path with dots"
    return None


def _port(url: str) -> int:
    match = _ADDRESS.fullmatch(url)
    return int(match[2][1:]) if match and match[2] else 80
