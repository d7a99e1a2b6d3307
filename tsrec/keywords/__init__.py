"""The keywords stage: a teacher draws keywords from each item's text. The semantics stage: tokens in its words."""

from tsrec.stage import Stage, on_call

STAGE = Stage(
    name="keywords",
    version=4,
    config=lambda config: config.keywords,
    parents=lambda _: ("ingest",),
    run=on_call("tsrec.keywords.stage", "run"),
    bases=("keywords", "ingest"),
    shared_from=0,
)

SEMANTICS = Stage(
    name="semantics",
    version=1,
    config=lambda config: config.keywords.openai,  # without a teacher it has nothing to do
    parents=lambda _: ("ingest", "keywords", "embed", "sids"),
    run=on_call("tsrec.keywords.semantics", "run"),
)
