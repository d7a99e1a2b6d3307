"""The live server: a data set's champion behind an address, followed as it changes."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsrec.serving.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    if name != "create_app":
        raise AttributeError(f"module 'tsrec.serving' has no attribute {name!r}; it offers {', '.join(__all__)}")
    from tsrec.serving.app import create_app  # FastAPI: who asks the engine alone does without

    return create_app
