"""The sa_init stage: what each SID token means in words, and where its embedding starts (TS-Rec's SA-Init)."""

from pathlib import Path

from tsrec.config import Config, SaInitConfig, SaInitSettings
from tsrec.stage import Stage, on_call


def _parents(config: Config) -> tuple[str, ...]:
    """Imported semantics need neither items' keywords nor their titles."""
    words = () if config.sa_init.import_file else ("ingest", "keywords")
    return (*words, "sids", "backbone")


def _raw_inputs(config: SaInitConfig) -> dict[str, Path]:
    """The imported file, if any. Raises DataError where it is missing."""
    path = config.imported_file("sa_init")
    return {"import_file": path} if path else {}


def _section(config: Config) -> SaInitSettings:
    own = config.sa_init.with_import_file_in(config.ingest.path)
    return SaInitSettings(**dict(own), finetune_seed=config.finetune.seed)


STAGE = Stage(
    name="sa_init",
    version=1,
    config=_section,
    parents=_parents,
    run=on_call("tsrec.sa_init.stage", "run"),
    raw_inputs=_raw_inputs,
    bases=("sa_init",),
)
