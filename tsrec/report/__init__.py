"""The report stage: one self-contained HTML page that shows what was built, from what, and how good it is."""

from tsrec.report.stage import STAGE

__all__ = ["STAGE"]
