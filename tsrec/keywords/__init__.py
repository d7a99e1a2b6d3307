"""The keywords stage: a teacher draws keywords from each item's text."""

from tsrec.keywords.semantics import SEMANTICS
from tsrec.keywords.stage import STAGE

__all__ = ["SEMANTICS", "STAGE"]
