"""Libraries, threads and processor, which change last digits of results. Kept in manifests, compared on reuse.

No fingerprint covers these: one store serves many machines, and last digits are no reason to make everything again.
"""

import logging
import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from tsrec.machine.devices import processor_features
from tsrec.store.artifact import Artifact

logger = logging.getLogger(__name__)

_LIBRARIES = (
    "tsrec",
    "accelerate",
    "beautifulsoup4",
    "charset-normalizer",
    "faiss-cpu",
    "icu4py",
    "lightgbm",
    "numpy",
    "pandas",
    "peft",
    "pyarrow",
    "regex",
    "scikit-learn",
    "scipy",
    "sentence-transformers",
    "stopwordsiso",
    "tokenizers",
    "torch",
    "transformers",
)


def host_environment() -> dict[str, Any]:
    """Host, Python and library versions, threads and processor, as the manifest records them.

    Where torch is not loaded nothing was computed with it, and its threads are not known.
    """
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    torch = sys.modules.get("torch")
    return {
        "host": platform.node(),
        "python": platform.python_version(),
        "libraries": libraries,
        "threads": torch.get_num_threads() if torch else None,
        "processor": processor_features() if torch else None,
    }


def warn_about_other_environments(artifacts: Iterable[Artifact]) -> None:
    """Say in one line of the log which artifacts of a run were made otherwise than this process makes them."""
    here, listed = host_environment(), list(artifacts)
    made = [{name: getattr(artifact.manifest, name) for name in here} for artifact in listed]
    found = [differing for there in made if (differing := environment_differences(there, here))]
    if not found:
        return
    whats = {what: there for differing in found for what, there in differing.items()}  # of several, the last one's
    logger.warning(
        "%d of %d artifacts of this run were made with other libraries, threads or another processor: %s. What is "
        "computed here may differ from them in its last digits",
        len(found),
        len(listed),
        ", ".join(whats.values()),
    )


def environment_differences(there: dict[str, Any], here: dict[str, Any]) -> dict[str, str]:
    """Of two `host_environment`s: library, threads or processor -> how it differs, in words, of what both know.

    tsrec itself is left out, for its stages have versions.
    """
    then = {**there["libraries"], "threads": there["threads"], "processor": there["processor"]}
    now = {**here["libraries"], "threads": here["threads"], "processor": here["processor"]}
    return {
        what: f"{what} {then[what]} (here {now[what]})"
        for what in then.keys() & now.keys() - {"tsrec"}
        if None not in (then[what], now[what]) and then[what] != now[what]
    }
