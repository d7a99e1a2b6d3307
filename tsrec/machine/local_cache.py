"""Where this machine keeps what it can always get again. Knows nothing of what."""

from pathlib import Path


def local_cache(kind: str) -> Path:
    """The user's folder for things of one kind; it may not exist yet."""
    return Path.home() / ".cache" / "tsrec" / kind
