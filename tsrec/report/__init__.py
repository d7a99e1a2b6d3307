"""The report stage: one self-contained HTML page that shows what was built, from what, and how good it is."""

from tsrec.config import Config, Section
from tsrec.llm.trained_llm import TRAINING_STAGES, trained_by
from tsrec.stage import Stage, on_call

PAGE_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
"""Content-Security-Policy of whoever serves the page: it shows texts of the catalogue, and whatever they hold, a page
without an origin reads nothing that the server keeps."""


def _parents(config: Config) -> tuple[str, ...]:
    teacher = () if config.sa_init.import_file else ("keywords",)
    trainings = TRAINING_STAGES[: TRAINING_STAGES.index(trained_by(config)) + 1]
    return ("ingest", *teacher, "sids", "sa_init", *trainings, "decode", "candidates", "fuse", "evaluate")


STAGE = Stage(
    name="report",
    version=10,
    config=lambda _: Section(),
    parents=_parents,
    run=on_call("tsrec.report.stage", "run"),
)
