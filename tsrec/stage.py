"""What a stage is: a name, the configuration it reads, its parents, and one function that writes its artifact."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tsrec.config import Config, Section
from tsrec.store import Artifact, ArtifactWriter
from tsrec.store.shards import Shard

Parents = Mapping[str, Artifact]


def on_call(module: str, name: str) -> Callable[..., Any]:
    """The function `name` of `module`, which is imported when the function is called for the first time.

    Descriptions of stages name by it what they run, so that planning imports no library that only a stage needs.
    """

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(import_module(module), name)(*arguments, **named)

    call.__module__, call.__name__, call.__qualname__ = module, name, name
    return call


@dataclass(frozen=True)
class Sharded:
    """Work in `shards`, which other processes may make beforehand; `write` makes the artifact of them, and makes those
    that are missing.

    Shards lie directly in the work folder, and have Parquet files of other names beside them where they are made from
    these.
    """

    shards: Sequence[Shard]
    write: Callable[[], None]


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    `version` is raised whenever `run` gives another result for the same inputs. `parents` names the stages whose
    artifacts `run` is handed (which ones may depend on the configuration), `raw_inputs` everything outside the store
    that it reads: files, whose hashes enter the fingerprint, or the name that a publisher gives to exactly one content
    (a commit of the model hub), which enters as it is.

    A refresh hands `run`, beside its parents, artifacts of the model that it refreshes: those of the stages `bases`, in
    the roles `base_role` gives them, or none of them. The first is the stage's own, which `run` then extends instead of
    starting from nothing; `extending` is the configuration that it reads in that case, where it is another. Ingest
    takes nothing over from its own: it only keeps what that model has learned from out of its targets.

    A description is light: `run` is named by `on_call`.

    `shared_from` is None for most stages. Where it is given, `run` opens what shards are made from and returns them:
    it leaves all else to `Sharded.write`, for it runs in the processes that make some, too. It is the units of work
    (`Shard.n`) from which other processes are asked, about 20 seconds' worth for one core. To start processes that
    have the libraries imported, and read what they need, takes about as long.
    """

    name: str
    version: int
    config: Callable[[Config], Section]
    parents: Callable[[Config], tuple[str, ...]]
    run: Callable[[Any, Parents, ArtifactWriter], Sharded | None]
    raw_inputs: Callable[[Any], Mapping[str, Path | str]] = lambda _: {}
    bases: tuple[str, ...] = ()
    extending: Callable[[Config], Section] | None = None
    shared_from: int | None = None

    def section(self, config: Config, *, extends: bool) -> Section:
        """The configuration that `run` reads."""
        return self.extending(config) if extends and self.extending else self.config(config)
