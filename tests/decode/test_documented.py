"""The example of docs/decoding.md runs as it stands, and finds what a plain reference finds."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.decode.reference import enumerated

PAGE = Path(__file__).parents[2] / "docs" / "decoding.md"


def test_the_documented_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), names)
    others = np.delete(names["codes"], 1, axis=0)
    sids, scores = enumerated(names["model"], names["prompt"], others, names["space"], n_text=100)
    found, trie = names["found"], names["trie"]
    np.testing.assert_array_equal([names["codes"][trie.items_of(leaf)[0]] for leaf in found.leaves[0]], sids)
    np.testing.assert_allclose(found.scores[0], scores, atol=1e-5)
    assert "['paint', 'glue']" in capsys.readouterr().out
