"""uv looks for packages where pip is told to look."""

from pathlib import Path

import pytest

from install import options_of, pip_settings


def test_uv_is_handed_what_pip_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment before the section of `pip install`, and that before the global one."""
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "CONSTRAINT", "TRUSTED_HOST"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://a.test/simple\nfind-links = /wheels\ntrusted-host = a.test\ntimeout = 9\n"
        "[install]\nindex-url = https://b.test/simple\nfind-links = /own\n    /more\n"
        "[download]\nfind-links = /nowhere\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://c.test/one https://c.test/two")
    options = options_of(pip_settings())
    assert [option for option in options if not option.startswith("--constraint")] == [
        "--index-url=https://b.test/simple",
        "--extra-index-url=https://c.test/one",
        "--extra-index-url=https://c.test/two",
        "--find-links=/own",
        "--find-links=/more",
        "--allow-insecure-host=a.test",
    ]
    monkeypatch.setenv("PIP_INDEX_URL", "https://d.test/simple")
    assert options_of(pip_settings())[0] == "--index-url=https://d.test/simple"
