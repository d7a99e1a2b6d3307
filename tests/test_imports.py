"""What commands and planning import: no library that only a running stage needs."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

from tsrec.machine.devices import _may_have_gpu
from tsrec.pipeline import STAGES
from tsrec.recommenders.member_registry import MEMBERS

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch",
    "transformers",
    "sentence_transformers",
    "openai",
    "faiss",
    "lightgbm",
    "sklearn",
    "scipy",
    "matplotlib",
    "peft",
    "accelerate",
)


def _imported(code: str, names: tuple[str, ...]) -> str:
    """Those of the libraries that a new process has imported after `code`."""
    told = f"import sys\n{code}\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_help_needs_no_library() -> None:
    code = (
        "from flows import cli\n"
        "for words in (['--help'], ['recommend', '--help']):\n"
        "    try:\n"
        "        cli.main(words)\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0"
    )
    assert _imported(code, (*HEAVY, "prefect", "pandas", "numpy", "pydantic", "yaml")) == ""


def test_planning_needs_no_library_of_a_stage(tmp_path: Path) -> None:
    code = (
        "from tsrec import load_config, pipeline\n"
        f"config = load_config('configs/demo.yaml', ['store={tmp_path}'])\n"
        "assert 'report' in pipeline.check(config)"
    )
    assert _imported(code, tuple(name for name in (*HEAVY, "prefect") if name != "torch" or not _may_have_gpu())) == ""


def test_flows_need_no_library_of_a_stage_before_they_run() -> None:
    code = "import flows.commands, flows.train, flows.refresh, flows.recommend, flows.ablation"
    assert _imported(code, HEAVY) == ""


def test_trees_are_opened_without_scikit_learn_and_others_get_the_whole_library() -> None:
    code = (
        "import sys\n"
        "from tsrec.recommenders.trees import _lightgbm\n"
        "own = _lightgbm()\n"
        "assert own.Booster and 'sklearn' not in sys.modules\n"
        "import lightgbm\n"
        "lightgbm.LGBMClassifier()\n"
        "assert _lightgbm() is own"
    )
    assert _imported(code, ("sklearn",)) == "sklearn"


def test_another_thread_may_import_scikit_learn_while_trees_are_opened() -> None:
    code = (
        "import sys, threading\n"
        "from tsrec.recommenders.trees import _lightgbm\n"
        "def meanwhile(event, details):\n"
        "    if event == 'import' and details[0] == 'lightgbm.basic':\n"  # before LightGBM asks for scikit-learn
        "        thread = threading.Thread(target=lambda: found.append(__import__('sklearn')))\n"
        "        thread.start()\n"
        "        thread.join()\n"
        "found = []\n"
        "sys.addaudithook(meanwhile)\n"
        "assert _lightgbm().Booster\n"
        "assert found and sys.modules['sklearn'] is found[0]"
    )
    assert _imported(code, ("sklearn",)) == "sklearn"


def test_what_descriptions_name_is_there_and_stands_in_their_room() -> None:
    named = [(stage.config.__module__, call) for stage in STAGES for call in (stage.run, stage.raw_inputs)]
    named += [("tsrec.recommenders", call) for kind in MEMBERS.values() for call in (kind.fit, kind.load)]
    for room, call in named:
        if "<" not in call.__qualname__:
            assert call.__module__.split(".")[1] == room.split(".")[1]
            assert callable(getattr(import_module(call.__module__), call.__name__))
