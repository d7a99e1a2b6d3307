"""pip install, by uv where it can be had: `.venv/bin/python install.py ARGUMENTS`.

uv takes a fraction of the time, but reads none of pip's settings: those that say where packages are found are handed on
to it. Where it cannot be installed, or fails, pip does the work.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Sequence

_PIP = (sys.executable, "-m", "pip")
# Of all indexes the newest version that is allowed, as pip has it.
_UV = (sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--index-strategy=unsafe-best-match")
_OPTIONS = {
    "index-url": "--index-url",
    "extra-index-url": "--extra-index-url",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}
"""pip's name of a setting -> uv's option."""
_SECTIONS = ("global", "install", ":env:")  # of pip's settings; the last one that has a setting counts


def install(arguments: Sequence[str]) -> int:
    """Install what `arguments` of pip or uv say; 0 where it is installed."""
    if subprocess.call([*_PIP, "install", "--quiet", "--constraint=constraints.txt", "uv"]) == 0:
        settings = pip_settings()
        environment = os.environ | ({"SSL_CERT_FILE": settings["cert"]} if "cert" in settings else {})
        print("uv pip install", *arguments, flush=True)
        if subprocess.call([*_UV, *options_of(settings), *arguments], env=environment) == 0:
            return 0
    print("pip install", *arguments, flush=True)
    return subprocess.call([*_PIP, "install", *arguments])


def pip_settings() -> dict[str, str]:
    """What pip's files and environment say of installing, by pip's names."""
    listed = subprocess.run([*_PIP, "config", "list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, setting = name.partition(".")
        found.get(section, {})[setting] = str(ast.literal_eval(value))
    return {setting: value for section in _SECTIONS for setting, value in found[section].items()}


def options_of(settings: dict[str, str]) -> list[str]:
    """These settings as options of uv; what it has no use for is left out."""
    return [f"{option}={part}" for name, option in _OPTIONS.items() for part in settings.get(name, "").split()]


if __name__ == "__main__":
    sys.exit(install(sys.argv[1:]))
