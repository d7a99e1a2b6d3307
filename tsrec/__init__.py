"""tsrec: a catalogue and interaction logs -> an LLM recommender whose item tokens mean something.

    import tsrec

    artifacts = tsrec.run(tsrec.load_config("configs/demo.yaml"))  # build what is missing
    artifacts["evaluate"].frame("metrics")
    tsrec.Recommender.open("artifacts", "ml-100k").recommend([["50", "181"]], k=5)

What stands in `__all__` is the public surface; each stage is a sub-package. Names are imported when first used, so that
`import tsrec` costs nothing.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from tsrec.machine.huge_pages import use_huge_pages
from tsrec.machine.threads import one_thread_after_fork, spin_briefly

if TYPE_CHECKING:
    from tsrec.config import Config, load_config
    from tsrec.errors import TsrecError
    from tsrec.pipeline import plan, run
    from tsrec.recommenders.recommender import Recommendation, Recommender
    from tsrec.store import Artifact, ArtifactStore

# Before any module here imports torch.
spin_briefly()
use_huge_pages()
one_thread_after_fork()

try:
    __version__ = version("tsrec")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "Artifact",
    "ArtifactStore",
    "Config",
    "Recommendation",
    "Recommender",
    "TsrecError",
    "__version__",
    "load_config",
    "plan",
    "run",
]

_HOMES = {
    "Artifact": "tsrec.store",
    "ArtifactStore": "tsrec.store",
    "Config": "tsrec.config",
    "Recommendation": "tsrec.recommenders.recommender",
    "Recommender": "tsrec.recommenders.recommender",
    "TsrecError": "tsrec.errors",
    "load_config": "tsrec.config",
    "plan": "tsrec.pipeline",
    "run": "tsrec.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tsrec' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
