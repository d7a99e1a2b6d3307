"""The sids stage: where items get their semantic IDs."""

from pathlib import Path

from tsrec.config import Config, SidsConfig
from tsrec.stage import Stage, on_call


def _parents(config: Config) -> tuple[str, ...]:
    return ("ingest",) if config.sids.import_file else ("ingest", "embed")


def _raw_inputs(config: SidsConfig) -> dict[str, Path]:
    path = config.imported_file("sids")
    return {"sids": path} if path else {}


STAGE = Stage(
    name="sids",
    version=2,
    config=lambda config: config.sids.with_import_file_in(config.ingest.path),
    parents=_parents,
    run=on_call("tsrec.sids.stage", "run"),
    raw_inputs=_raw_inputs,
    bases=("sids",),
)
