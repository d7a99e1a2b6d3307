"""What `import tsrec` offers: every name is there, documented, and costs nothing before it is used."""

import subprocess
import sys

import pytest

import tsrec
import tsrec.serving


def test_every_public_name_is_there_and_documented() -> None:
    for name in tsrec.__all__:
        assert getattr(tsrec, name) is not None
        assert name == "__version__" or getattr(tsrec, name).__doc__, name
    assert set(tsrec.__all__) <= set(dir(tsrec))


def test_public_classes_document_their_public_methods() -> None:
    for kind in (tsrec.Recommender, tsrec.ArtifactStore, tsrec.Artifact):
        for name, member in vars(kind).items():
            if not name.startswith("_") and callable(getattr(kind, name)):
                assert getattr(kind, name).__doc__, f"{kind.__name__}.{name}"
                assert member is not None


def test_importing_it_loads_no_library() -> None:
    code = "import sys, tsrec; print([m for m in ('torch', 'pandas', 'pydantic', 'prefect') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match="it offers Artifact, ArtifactStore"):
        _ = tsrec.recommend


def test_the_server_is_there_and_costs_nothing_before_it_is_used() -> None:
    loaded = "[m for m in ('fastapi', 'torch') if m in sys.modules]"
    code = f"import sys, tsrec.serving as serving; print({loaded}, serving.create_app.__doc__)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("[] The live server")
    with pytest.raises(AttributeError, match="it offers create_app"):
        _ = tsrec.serving.recommend  # type: ignore[attr-defined]
