"""The evaluate stage: metrics, intervals over users, slices, paired differences. Nothing here ranks or decodes."""

from tsrec.evaluate.stage import STAGE

__all__ = ["STAGE"]
