"""The examples of docs/decoding.md run as they stand, and find what a plain reference finds."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.decode.reference import enumerated

PAGE = Path(__file__).parents[2] / "docs" / "decoding.md"


def test_the_documented_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
    others = np.delete(names["codes"], 1, axis=0)
    sids, scores = enumerated(names["model"], names["prompt"], others, names["space"], n_text=100)
    found, trie = names["found"], names["trie"]
    np.testing.assert_array_equal([names["codes"][trie.items_of(leaf)[0]] for leaf in found.leaves[0]], sids)
    np.testing.assert_allclose(found.scores[0], scores, atol=1e-5)
    of_items = names["scores"].sum(axis=1)
    for leaf, score in zip(found.leaves[0], found.scores[0], strict=True):
        np.testing.assert_allclose(of_items[trie.items_of(leaf)], score, atol=1e-5)
    assert "['paint', 'glue']" in capsys.readouterr().out
