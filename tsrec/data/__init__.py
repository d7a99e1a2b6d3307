"""The ingest stage: raw files to `items` and `interactions`, and what was lost on the way."""

from tsrec.data.losses import loss_lines
from tsrec.data.stage import STAGE

__all__ = ["STAGE", "loss_lines"]
