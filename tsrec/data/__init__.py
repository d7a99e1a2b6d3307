"""The ingest stage: raw files to `items` and `interactions`, and what was lost on the way."""

from tsrec.stage import Stage, on_call

STAGE = Stage(
    name="ingest",
    version=4,
    config=lambda config: config.ingest,
    parents=lambda _: (),
    run=on_call("tsrec.data.stage", "run"),
    raw_inputs=on_call("tsrec.data.stage", "raw_inputs"),
    bases=("ingest",),
)
