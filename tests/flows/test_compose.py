"""`compose.yaml` is valid, keeps no secret, and what its services run is what works."""

import argparse
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest

from flows.cli import _parser
from tests.flows.compose_file import ROOT, compose_text, interpolated
from tests.keys import key_of
from tsrec.config import Ablation, BatchRequest, load_config
from tsrec.store import ArtifactStore

pytest.importorskip("compose_spec", reason="pip install -e '.[dev]'")
pytest.importorskip("s3fs", reason="pip install -e '.[dev]'")
pytest.importorskip("moto", reason="pip install -e '.[dev]'")

import boto3  # type: ignore[import-untyped]
import compose_spec

from tests.store.s3_server import serve_s3

GIVEN = {
    "TSREC_USER": "ops",
    "TSREC_PASSWORD": "u1",
    "DATABASE_PASSWORD": "d1",
    "STORE_ROOT_USER": "r1",
    "STORE_ROOT_PASSWORD": "r2",
    "TSREC_API_KEYS": "k1,k2",
    "STORE_USER": "s1",
    "STORE_PASSWORD": "p $1*",
}


def test_it_keeps_to_the_specification_and_every_name_leads_somewhere() -> None:
    content = interpolated(compose_text(), GIVEN)
    compose_spec.PyCompose.from_json(json.dumps(content))
    for service in content["services"].values():
        assert set(service.get("depends_on", ())) <= set(content["services"])
        sources = [mount.split(":")[0] for mount in service.get("volumes", ())]
        assert {source for source in sources if "/" not in source} <= set(content["volumes"])


def test_every_secret_comes_from_the_environment_and_has_no_default() -> None:
    text = compose_text()
    secrets = re.findall(r"^ +(\w*(?:PASSWORD|AUTH_STRING|KEY|KEYS|KEY_ID|ROOT_USER)): (.+)$", text, re.MULTILINE)
    assert len(secrets) == 11
    for name, value in secrets:
        assert re.fullmatch(r"(\$\{\w+:\?[^}]+\}:?)+", value), f"{name}: {value}"
    for name in GIVEN:
        with pytest.raises(KeyError, match=name):
            interpolated(text, {other: value for other, value in GIVEN.items() if other != name})
        assert re.search(rf"^# .*\b{name}\b", text, re.MULTILINE), f"{name} is not explained"


def _given(name: str, variable: str) -> tuple[dict[str, Any], argparse.Namespace]:
    """A service, and the options of its `tsrec` command."""
    service = interpolated(compose_text(), GIVEN)["services"][name]
    words = shlex.split(service["command"][-1].replace(f"${{{variable}}}", service["environment"][variable]))
    assert words[:2] == ["exec", "tsrec"]
    return service, _parser().parse_args(words[2:])


def test_the_workers_command_is_one_that_serves() -> None:
    service, options = _given("worker", "TSREC_PROFILES")
    assert load_config(options.profiles[0], options.set).store == "s3://tsrec/store"
    assert service["environment"]["TSREC_WRITE_ROOTS"].split(",")[0] == "s3://tsrec/store"


def test_the_command_of_the_api_is_one_that_serves() -> None:
    service, options = _given("api", "TSREC_API_DATASET")
    assert (options.command, options.dataset, options.store) == ("api:api", "ml-100k", "s3://tsrec/store")
    assert service["ports"] == [f"{options.port}:{options.port}"]
    assert f":{options.port}/readyz" in service["healthcheck"]["test"][-1]


def test_what_runs_write_by_default_lies_in_a_volume_below_the_roots() -> None:
    service = interpolated(compose_text(), GIVEN)["services"]["worker"]
    roots = service["environment"]["TSREC_WRITE_ROOTS"].split(",")
    volumes = [mount.split(":")[1] for mount in service["volumes"] if "/" not in mount.split(":")[0]]
    for place in (Path("/home/tsrec/app", out) for out in (BatchRequest().out, Ablation().folder)):
        assert any(place.is_relative_to(root) for root in roots), place
        assert any(place.is_relative_to(volume) for volume in volumes), place


def test_volumes_lie_where_the_image_has_folders_of_its_user() -> None:
    """A named volume takes its owner from the image's folder; without one it is root's, and nothing can be written."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    made = next(line for line in dockerfile.splitlines() if "mkdir -p" in line)
    mounts = interpolated(compose_text(), GIVEN)["services"]["worker"]["volumes"]
    mounts += re.findall(r" -v (\S+)", (ROOT / "docs" / "operate.md").read_text(encoding="utf-8"))  # of `docker run`
    places = [mount.split(":")[1] for mount in mounts if "/" not in mount.split(":")[0]]
    assert "/home/tsrec/.prefect" in places, "deployments, schedules and runs outlive the container"
    for place in places:
        assert place.removeprefix("/home/tsrec/app/") in made.split(), place


def test_only_the_store_and_what_makes_the_bucket_have_the_administrators_password() -> None:
    services = interpolated(compose_text(), GIVEN)["services"]
    knowing = {
        name for name, service in services.items() if GIVEN["STORE_ROOT_PASSWORD"] in service["environment"].values()
    }
    assert knowing == {"storage", "bucket"}
    for name in ("server", "worker", "api"):
        assert services[name]["environment"]["AWS_ACCESS_KEY_ID"] == GIVEN["STORE_USER"]
        assert services[name]["init"] is True


def test_images_are_named_by_what_they_hold() -> None:
    services = interpolated(compose_text(), GIVEN)["services"]
    images = [service["image"] for service in services.values() if "build" not in service]
    images.append((ROOT / "Dockerfile").read_text(encoding="utf-8").split()[1])
    assert len(images) == 4
    assert all(re.fullmatch(r"[a-z/]+(:[\w.-]+)?@sha256:[0-9a-f]{64}|postgres:\d+\.\d+", image) for image in images), (
        images
    )


def test_the_script_that_makes_the_bucket_hands_names_and_passwords_on_as_they_are(tmp_path: Path) -> None:
    """The store's own client is written down instead of run: it comes with the store's image alone."""
    (tmp_path / "mc").write_text(
        '#!/bin/sh\nfor word; do printf "%s|" "$word"; done >> "$LOG"; echo >> "$LOG"\n[ "$3" != attach ]\n'
    )
    (tmp_path / "mc").chmod(0o755)
    service = interpolated(compose_text(), GIVEN)["services"]["bucket"]
    environment = service["environment"] | {"PATH": f"{tmp_path}:/usr/bin:/bin", "LOG": str(tmp_path / "log")}
    subprocess.run([*service["entrypoint"], *service["command"]], env=environment, check=True)
    asked = [line.rstrip("|").split("|") for line in (tmp_path / "log").read_text().splitlines()]
    assert asked[0][-3:] == ["http://storage:9000", GIVEN["STORE_ROOT_USER"], GIVEN["STORE_ROOT_PASSWORD"]]
    assert ["admin", "user", "add", "root", GIVEN["STORE_USER"], GIVEN["STORE_PASSWORD"]] in asked
    assert ["admin", "policy", "attach", "root", "tsrec", "--user", GIVEN["STORE_USER"]] in asked
    assert asked[-2][-2:] == [GIVEN["STORE_USER"], GIVEN["STORE_PASSWORD"]]
    assert asked[-1] == ["ls", "own/tsrec"]


def test_the_users_rights_are_enough_for_the_store_and_end_at_the_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = interpolated(compose_text(), GIVEN)["services"]["bucket"]["environment"]["POLICY"]
    with serve_s3() as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "HOME": str(tmp_path),
        }.items():
            monkeypatch.setenv(name, value)

        def log_in(key: str, secret: str) -> Any:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
            fsspec.filesystem("s3").clear_instance_cache()
            return fsspec.filesystem("s3")

        root = log_in("root", "secret")
        root.mkdir("tsrec")
        root.mkdir("others")
        root.pipe("others/secret", b"1")
        iam = boto3.client("iam")
        iam.create_user(UserName="tsrec")
        iam.put_user_policy(UserName="tsrec", PolicyName="tsrec", PolicyDocument=policy)
        made = iam.create_access_key(UserName="tsrec")["AccessKey"]
        httpx.post(f"{server.url}/moto-api/reset-auth", content="0")  # from now on rights are looked at
        try:
            own = log_in(made["AccessKeyId"], made["SecretAccessKey"])
            for path in ("others/secret", "others"):
                with pytest.raises(PermissionError):
                    own.cat(path) if "/" in path else own.ls(path)
            with pytest.raises(PermissionError):
                own.pipe("others/mine", b"2")
            with pytest.raises(PermissionError):
                own.mkdir("mine")
            store = ArtifactStore("s3://tsrec/store")
            key = key_of("ingest", "abc123", "shop")
            store.build(key, lambda writer: writer.write_json("content", [1]))
            monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
            found = ArtifactStore("s3://tsrec/store").find(key)
            assert found is not None and json.loads(found.file("content.json").read_text()) == [1]
            own.rm("tsrec/store", recursive=True)
        finally:
            httpx.post(f"{server.url}/moto-api/reset-auth", content="inf")
            httpx.post(f"{server.url}/moto-api/reset")
            fsspec.filesystem("s3").clear_instance_cache()
