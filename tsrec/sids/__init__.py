"""The sids stage: where items get their semantic IDs."""

from tsrec.sids.stage import STAGE

__all__ = ["STAGE"]
