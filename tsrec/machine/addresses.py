"""What a URL is, and which ones are taken; everything else that names a place is a path on this machine.

The address of an endpoint has to be plainer still: so plain that no two programs read it differently, and no secrets.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import fsspec

from tsrec.errors import ConfigError, in_one_line

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # one letter is a folder (or a drive), no scheme
_ALMOST_URL = re.compile(r"\s*[a-z][a-z0-9+.-]+:(/|$)", re.IGNORECASE)
# What fsspec would take apart: zip://x.csv::s3://bucket/y.zip
_CHAIN = re.compile(r"\s*[a-z][a-z0-9+.-]+(://.*::|::.*:/)", re.IGNORECASE | re.DOTALL)
# The second: keys of S3 hold slashes. A colon before the first slash, and no port behind it.
_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]+://([^/]*:[^/@]*@|[^/@:]*:(?!\d*(/|$)).*@)", re.IGNORECASE | re.DOTALL)
LOCAL_SCHEMES = ("file", "local")
"""Of URLs that fsspec reads as paths on this machine."""
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_ADDRESS = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[1-9]\d{0,4})?(/[A-Za-z0-9._~:+=,/-]*)?")


def is_url(text: str) -> bool:
    """Whether `text` is a URL (`s3://bucket/x`); else it is a path on this machine, whatever stands in it."""
    return bool(_URL.match(text))


def scheme_of(url: str) -> str:
    """What stands before `://`, in lower case."""
    return url.partition("://")[0].lower()


def place_problem(text: str) -> str | None:
    """Why `text` is neither a path nor a URL, or None. The answer never repeats any of it: it may hold a key."""
    if _CHAIN.match(text) and scheme_of(text) not in _DEFAULT_PORTS:  # http://[::1] is none
        return "joins addresses with `::`, which is not supported; name one alone"
    if not is_url(text) and _ALMOST_URL.match(text):
        return "is almost a URL; one begins with scheme:// and is given as text (a Path takes a slash away)"
    if _PASSWORD.match(text) and scheme_of(text) != "github":  # whose colon stands between owner and project
        return "must not hold a password: settings are written into manifests; give it in the driver's own variables"
    return None


def location(url: str) -> tuple[str, str, str]:
    """Scheme, place (bucket, or user, host and port) and path of a URL, for comparing; never raises.

    Hosts of http and https compare in lower case and with their default port left out; every other place as written.
    """
    scheme = scheme_of(url)
    place, slash, path = url.partition("://")[2].partition("/")
    if scheme in _DEFAULT_PORTS:
        user, at, host = place.rpartition("@")
        place = user + at + host.lower().removesuffix(_DEFAULT_PORTS[scheme])
    return scheme, place, slash + path


def open_filesystem(url: str, named: str, **options: Any) -> tuple[Any, str]:
    """The fsspec file system that a URL names, and the path on it.

    Args:
        url: for which `is_url` holds.
        named: the setting that holds it, for messages.
        options: of the file system.

    Raises:
        ConfigError: `place_problem` has one, fsspec knows no such scheme, its package is missing, or it refuses the
            URL.
    """
    if problem := place_problem(url):
        raise ConfigError(f"{named}: the address {problem}")
    scheme = scheme_of(url)
    try:
        filesystem, path = fsspec.core.url_to_fs(scheme + url[len(scheme) :], **options)
    except ImportError as error:
        how = "pip install 'tsrec[s3]'" if scheme in ("s3", "s3a") else in_one_line(error)
        raise ConfigError(f"{named}: {url}: the package that reads {scheme}:// is missing: {how}") from None
    except Exception as error:  # each file system refuses an address with errors of its own
        raise ConfigError(f"{named}: {url}: not an address that can be opened ({in_one_line(error)})") from None
    return filesystem, path


def address_problem(url: str) -> str | None:
    """What is wrong with `url` as the address of an endpoint, or None. The answer never repeats any of it: it may hold
    a key."""
    if re.search(r"[@?#]", url):
        return "must not hold a user name, a password, a query or a fragment: keys do not belong into addresses"
    if not _ADDRESS.fullmatch(url):
        return "is not of the form http(s)://host[:port][/path], in plain letters and digits"
    try:
        _ = urlsplit(url).port
    except ValueError:
        return "has a port above 65535, or a host in brackets that is no IPv6 address"
    if {".", ".."} & set(url.split("/")):
        return "must not go up in its path with dots"
    return None


def is_loopback(host: str) -> bool:
    """Whether a host, as a name or an address, is this machine for itself alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def url_host(host: str) -> str:
    """What this machine reaches a server by that listens on `host`, as a URL has it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
