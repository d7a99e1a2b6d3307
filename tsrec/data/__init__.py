"""The ingest stage: raw files to `items` and `interactions`."""

from tsrec.data.stage import STAGE

__all__ = ["STAGE"]
