"""tsrec: a catalogue and interaction logs -> an LLM recommender whose item tokens mean something.

`tsrec.pipeline.run(tsrec.config.load_config("configs/demo.yaml"))` builds everything; each stage is a sub-package.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tsrec")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
