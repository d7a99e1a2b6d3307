"""`compose.yaml` is valid, keeps no secret, and what its services run is what works."""

import json
import re
import shlex
from pathlib import Path

import pytest

from flows.cli import _parser
from tests.flows.compose_file import ROOT, compose_text, interpolated
from tsrec.config import Ablation, Wish, load_config

compose_spec = pytest.importorskip("compose_spec", reason="pip install -e '.[dev]'")

GIVEN = {
    "TSREC_USER": "ops",
    "TSREC_PASSWORD": "u1",
    "DATABASE_PASSWORD": "d1",
    "STORE_USER": "s1",
    "STORE_PASSWORD": "p1",
}


def _checked(text: str) -> None:
    """Raise ValueError where the specification, or a name in it that leads nowhere, is not kept to."""
    content = interpolated(text, GIVEN)
    compose_spec.PyCompose.from_json(json.dumps(content))
    for name, service in content["services"].items():
        for other in service.get("depends_on", ()):
            if other not in content["services"]:
                raise ValueError(f"{name} depends on {other}")
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if "/" not in source and source not in content["volumes"]:
                raise ValueError(f"{name} mounts {source}")


def test_it_keeps_to_the_specification() -> None:
    _checked(compose_text())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("healthcheck:", "healthchek:"),
        ("condition: service_healthy", "condition: healthy"),
        ("interval: 5s", "interval: soon"),
        ('- "4200:4200"', '- "4200:http"'),
        ("      storage:\n        condition", "      store:\n        condition"),
        ("- cache:/home", "- cash:/home"),
    ],
)
def test_the_check_finds_what_is_wrong(right: str, wrong: str) -> None:
    text = compose_text().replace(right, wrong, 1)
    assert text != compose_text()
    with pytest.raises(ValueError, match=r".+"):
        _checked(text)


def test_every_secret_comes_from_the_environment_and_has_no_default() -> None:
    text = compose_text()
    secrets = re.findall(r"^ +(\w*(?:PASSWORD|AUTH_STRING|KEY|KEY_ID|ROOT_USER)): (.+)$", text, re.MULTILINE)
    assert len(secrets) == 8
    for name, value in secrets:
        assert re.fullmatch(r"(\$\{\w+:\?[^}]+\}:?)+", value), f"{name}: {value}"
    for name in GIVEN:
        with pytest.raises(KeyError, match=name):
            interpolated(text, {other: value for other, value in GIVEN.items() if other != name})
        assert re.search(rf"^# .*\b{name}\b", text, re.MULTILINE), f"{name} is not explained"


def test_the_workers_command_is_one_that_serves() -> None:
    service = interpolated(compose_text(), GIVEN)["services"]["worker"]
    shell = service["command"][-1].replace("${TSREC_PROFILES}", service["environment"]["TSREC_PROFILES"])
    words = shlex.split(shell)
    assert words[:2] == ["exec", "tsrec"]
    options = _parser().parse_args(words[2:])
    assert load_config(options.profiles[0], options.set).store == "s3://tsrec/store"
    assert service["environment"]["TSREC_WRITE_ROOTS"].split(",")[0] == "s3://tsrec/store"


def test_what_runs_write_by_default_lies_in_a_volume_below_the_roots() -> None:
    service = interpolated(compose_text(), GIVEN)["services"]["worker"]
    roots = service["environment"]["TSREC_WRITE_ROOTS"].split(",")
    volumes = [mount.split(":")[1] for mount in service["volumes"] if "/" not in mount.split(":")[0]]
    for place in (Path("/home/tsrec/app", out) for out in (Wish().out, Ablation().folder)):
        assert any(place.is_relative_to(root) for root in roots), place
        assert any(place.is_relative_to(volume) for volume in volumes), place


def test_volumes_lie_where_the_image_has_folders_of_its_user() -> None:
    """A named volume takes its owner from the image's folder; without one it is root's, and nothing can be written."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    made = next(line for line in dockerfile.splitlines() if "mkdir -p" in line)
    mounts = interpolated(compose_text(), GIVEN)["services"]["worker"]["volumes"]
    for place in (mount.split(":")[1] for mount in mounts if "/" not in mount.split(":")[0]):
        assert place.removeprefix("/home/tsrec/app/") in made.split(), place
