"""Which code the result of each stage comes from, and whether its version was looked at when that code changed.

`python -m tests.stage_code` records the code as it is now in `stage_code.json`: every stage's version, and a hash of
every module that results come from. Whoever runs it says that stages whose version stayed give the same results.

The rule: a stage's modules are the one that its function stands in, and those of tsrec that these import, one from the
other. The description that names the function (`Stage`) is left out, for all that it says is in the fingerprint. So are
`_NO_RESULTS`: some carry results and make none, and of the whole configuration a stage reads its section alone, whose
values are in its fingerprint. A member's code is the member's alone, for all that fit or open it cover its version. A
hash covers the syntax tree without what is free to be reworded: comments, docstrings, lines of the log, messages of
errors, titles and descriptions of settings.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_suffix(".json")
COMMAND = "python -m tests.stage_code"
_NO_RESULTS = (
    "tsrec.config.root",
    "tsrec.config.sections",
    "tsrec.config.rules",
    "tsrec.errors",
    "tsrec.permissions",
    "tsrec.machine.addresses",
    "tsrec.machine.progress",
    "tsrec.machine.quiet",
    "tsrec.store",
)

Record = dict[str, dict[str, int] | dict[str, str]]


@cache
def versions_and_modules() -> dict[str, tuple[int, set[str]]]:
    """What each stage's version is, and the modules that its result comes from."""
    from tsrec import pipeline
    from tsrec.recommenders import batch, served_members
    from tsrec.recommenders.member_registry import MEMBERS
    from tsrec.refresh import comparison

    own = {name: {kind.fit.__module__, kind.load.__module__} for name, kind in MEMBERS.items()}
    start = {name: (kind.version, own[name] | {"tsrec.recommenders.member"}) for name, kind in MEMBERS.items()}
    for stage in pipeline.STAGES:
        start.setdefault(stage.name, (stage.version, {stage.run.__module__}))
    for name, module in (("served", served_members), ("compare", comparison), ("recommend", batch)):
        start[name] = (module._VERSION, {module.__name__})
    found = {}
    for name, (version, modules) in start.items():
        elsewhere = {module for member in own.values() for module in member} - modules
        found[name] = (version, _closure(modules, elsewhere))
    return found


def current() -> Record:
    """The record as it would be now."""
    stages = versions_and_modules()
    modules = sorted(set().union(*(modules for _, modules in stages.values())))
    return {
        "versions": {name: version for name, (version, _) in sorted(stages.items())},
        "modules": {module: code_hash(_source(module)) for module in modules},
    }


def unanswered(recorded: Record, now: Record) -> dict[str, list[str]]:
    """Stages whose code is not the recorded one, though their version is: stage -> the modules that differ."""
    changed = {module for module, digest in now["modules"].items() if recorded["modules"].get(module) != digest}
    found = {}
    for name, (version, modules) in versions_and_modules().items():
        if recorded["versions"].get(name) == version and modules & changed:
            found[name] = sorted(modules & changed)
    return found


def code_hash(source: str) -> str:
    """12 hex digits of a module's syntax tree, without what does not change what it computes."""
    tree = _WithoutWords().visit(ast.parse(source))
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()[:12]


class _WithoutWords(ast.NodeTransformer):
    """Removes docstrings and other loose strings, lines of the log, what errors say, what settings are called."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        called = value.func if isinstance(value, ast.Call) else None
        is_log = isinstance(called, ast.Attribute) and ast.unparse(called.value) == "logger"
        is_words = isinstance(value, ast.Constant) and isinstance(value.value, str)
        return None if is_log or is_words else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in ("title", "description")]
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)


def _plain(node: object) -> object:
    """A syntax tree as tuples, without places, and without the empty fields that some Pythons have and others lack."""
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in ast.iter_fields(node))
        return (type(node).__name__, *((name, value) for name, value in fields if value not in (None, ())))
    return tuple(map(_plain, node)) if isinstance(node, list) else repr(node) if node is not None else None


def _closure(modules: set[str], elsewhere: set[str]) -> set[str]:
    found: set[str] = set()
    queue = list(modules)
    while queue:
        module = queue.pop()
        if module in found or module in elsewhere or module.startswith(_NO_RESULTS):
            continue
        found.add(module)
        queue += _imported(module)
    return found


@cache
def _imported(module: str) -> tuple[str, ...]:
    return tuple(_imports(_tree(module)))


def _imports(tree: ast.Module, only: str = "") -> Iterator[str]:
    """Modules of tsrec that a module imports, anywhere in it; or those alone that give it the name `only`."""
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            names = [(alias.asname or alias.name, alias.name) for alias in node.names]
            yield from (name for bound, name in names if _is_ours(name) and only in ("", bound))
        elif isinstance(node, ast.ImportFrom) and node.module and _is_ours(node.module):
            for alias in node.names:
                if only in ("", alias.asname or alias.name):
                    yield from _homes(node.module, alias.name)


def _homes(module: str, name: str) -> Iterator[str]:
    """Where `from module import name` finds it: a module, or what a package's `__init__` has it from."""
    if _file(f"{module}.{name}").exists():
        yield f"{module}.{name}"
    elif _file(module).name == "__init__.py" and (homes := list(_imports(_tree(module), name))):
        yield from homes
    else:
        yield module


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node but what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield child
            yield from _walk(child)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "tsrec"


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module))


def _source(module: str) -> str:
    return _file(module).read_text(encoding="utf-8")


def main() -> None:
    """Record the code as it is, and say what that acknowledges."""
    now = current()
    recorded: Record = json.loads(RECORD.read_text()) if RECORD.exists() else {"versions": {}, "modules": {}}
    for name, version in now["versions"].items():
        if (before := recorded["versions"].get(name, version)) != version:
            print(f"{name}: version {before} -> {version}")
    for name, modules in unanswered(recorded, now).items():
        print(f"{name}: gives the same results as before (version {now['versions'][name]}): {', '.join(modules)}")
    RECORD.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
