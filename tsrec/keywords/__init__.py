"""The keywords stage: a teacher draws keywords from each item's text."""

from tsrec.keywords.stage import STAGE

__all__ = ["STAGE"]
