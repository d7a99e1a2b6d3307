"""Which exact model a name is: a folder's files, or a commit, as the fingerprints of the stages that read it see."""

import ast
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

import tsrec
from tsrec import pipeline
from tsrec.config import load_config
from tsrec.errors import ConfigError
from tsrec.llm.pretrained import cached_commit, commit_of, files_of

COMMITS = ("0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def _put(cache: Path, name: str, commit: str) -> None:
    ref = cache / f"models--{name.replace('/', '--')}" / "refs" / "main"
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit)


def test_a_model_of_the_hub_is_known_by_the_commit_in_the_cache(cache: Path) -> None:
    assert cached_commit("org/model") is None
    assert commit_of("backbone.model", "org/model") == {}  # no network: nobody knows
    for commit in COMMITS:
        _put(cache, "org/model", commit)
        assert commit_of("backbone.model", "org/model") == {"commit": commit}


@pytest.mark.parametrize("name", ["/models/qwen", "./qwen", "models/qwen/big", "a name"])
def test_what_is_neither_folder_nor_hub_name_is_refused_at_once(cache: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"backbone\.model: .*(no such folder|neither a folder here nor a model)"):
        commit_of("backbone.model", name)


def test_only_files_that_loaders_read_are_known(tmp_path: Path) -> None:
    for name in ("config.json", "0_Pool/config.json", "README.md", ".git/x.json", "onnx/model.json", "a.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert list(files_of(tmp_path, ("*.json", "*.safetensors"))) == [
        "0_Pool/config.json",
        "a.safetensors",
        "config.json",
    ]


def _planned(settings: list[str], **models: str) -> dict[str, str]:
    fields = {"encoder": "embed.encoder", "model": "backbone.model"}
    config = load_config(None, [*settings, *(f"{fields[name]}={value}" for name, value in models.items())])
    return {name: planned.key.fingerprint for name, planned in pipeline.plan(config).items()}


def _differ(one: dict[str, str], other: dict[str, str]) -> set[str]:
    return {name for name in one if one[name] != other[name]}


def test_plans_follow_weights_and_commits_and_not_places(
    cache: Path, shop_settings: list[str], tiny_backbone: Path, tmp_path: Path
) -> None:
    encoder = tmp_path / "encoder"
    (encoder / "0_Static").mkdir(parents=True)
    (encoder / "modules.json").write_text("[]")
    (encoder / "0_Static" / "model.safetensors").write_bytes(b"weights")
    model = Path(shutil.copytree(tiny_backbone, tmp_path / "model"))
    first = _planned(shop_settings, encoder=str(encoder), model=str(model))

    for name in ("encoder", "model"):
        shutil.copytree(tmp_path / name, tmp_path / "moved" / name)
    moved = {"encoder": str(tmp_path / "moved" / "encoder"), "model": str(tmp_path / "moved" / "model")}
    assert _planned(shop_settings, **moved) == first

    (encoder / "0_Static" / "model.safetensors").write_bytes(b"Weights")
    changed = _differ(first, _planned(shop_settings, encoder=str(encoder), model=str(model)))
    assert {"embed", "sids", "finetune"} <= changed
    assert not {"ingest", "keywords", "backbone"} & changed

    for commit in COMMITS:
        _put(cache, "org/encoder", commit)
        _put(cache, "org/model", commit)
        before, first = first, _planned(shop_settings, encoder="org/encoder", model="org/model")
        assert {"embed", "backbone"} <= _differ(before, first)


def test_whatever_loads_a_model_refuses_the_code_that_comes_with_it() -> None:
    """transformers' own default is to ask the terminal."""
    loaders = {"from_pretrained", "from_config", "SentenceTransformer"}
    calls = [
        (file.name, node.lineno, {word.arg: ast.unparse(word.value) for word in node.keywords})
        for file in sorted(Path(tsrec.__path__[0]).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in loaders
    ]
    assert len(calls) > 15
    assert [call for call in calls if call[2].get("trust_remote_code") != "False"] == []
