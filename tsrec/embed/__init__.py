"""The embed stage: item texts to vectors, by a frozen sentence encoder."""

from tsrec.embed.encoder import raw_inputs
from tsrec.embed.settings import EmbedSettings
from tsrec.stage import Stage, on_call

STAGE = Stage(
    name="embed",
    version=1,
    config=lambda config: EmbedSettings(**dict(config.embed), device=config.device, precision=config.precision),
    parents=lambda _: ("ingest",),
    run=on_call("tsrec.embed.stage", "run"),
    raw_inputs=raw_inputs,
    bases=("embed", "ingest"),
    shared_from=500,  # texts: MiniLM reads about 25 a second on one core
)
