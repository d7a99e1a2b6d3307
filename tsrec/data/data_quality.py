"""Reports what of the raw data was dropped, cut or looks wrong, a sentence each.

Above 1 % it is a warning; some of it is an error above `ingest.max_loss`.
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from tsrec.data.ids import holds_several_ids, why_ids_differ
from tsrec.errors import DataError, quoted
from tsrec.store import Artifact, ArtifactWriter

logger = logging.getLogger(__name__)

_NAME = "losses"
_WARN_ABOVE = 0.01
_LONGEST_ID = 60  # characters of an id that a message shows


@dataclass(frozen=True)
class DataIssue:
    """`n` of `total` rows, texts or files were lost or look wrong; `text` says so.

    `is_warning` where no setting asked for it and it is above 1 %.
    """

    n: int
    total: int
    text: str
    is_warning: bool


class DataQualityReport:
    """Collects issues while the data is read, logs the large ones, and raises an error where too much is lost.

    What it counts stands in the manifest of `out` too.
    """

    def __init__(self, out: ArtifactWriter, max_loss: float) -> None:
        self.count = out.count
        self._out, self._max_loss = out, max_loss
        self._issues: list[DataIssue] = []

    def add(
        self,
        n: int,
        total: int,
        what: str,
        *,
        count: str = "",
        hint: str = "",
        wanted: bool = False,
        stops: bool = False,
        warn_above: float = _WARN_ABOVE,
    ) -> None:
        """Note that `n` of `total` were lost, unless none was.

        Args:
            n: how many.
            total: of how many.
            what: noun and verb, e.g. "interactions name items that the catalogue lacks".
            count: the name under which `n` stands in the manifest, if any.
            hint: the cause, an example, what to do.
            wanted: a setting asked for it, so it is no reason to warn.
            stops: it is an error above the bound.
            warn_above: the share of the total above which it is a warning.

        Raises:
            DataError: more than `max_loss` of the total, and `stops`.
        """
        if count:
            self.count(**{count: n})
        if not n:
            return
        share = n / total
        noun, _, verb = what.partition(" ")
        text = f"{n:,} of {total:,} {noun} ({share:.1%}) {verb}{f'; {hint}' if hint else ''}"
        if stops and share > self._max_loss:
            raise DataError(f"{text}. More than ingest.max_loss={self._max_loss:g} is an error")
        issue = DataIssue(n, total, text, is_warning=share > warn_above and not wanted)
        if issue.is_warning:
            logger.warning("%s", text)
        self._issues.append(issue)

    def write(self) -> None:
        """Write `losses.json`."""
        self._out.write_json(_NAME, [asdict(issue) for issue in self._issues])


def data_quality_lines(ingest: Artifact) -> list[str]:
    """What was lost on the way from the raw files to this artifact of the ingest stage, a line each; large ones that
    no setting asked for begin with "warning:"."""
    issues = [DataIssue(**entry) for entry in ingest.json(_NAME)]
    return [f"{'warning: ' if issue.is_warning else ''}{issue.text}" for issue in issues]


def explain_failed_join(unknown: pd.Index, events: Path, known: pd.Index, items: Path) -> str:
    """An example from either side of a join on ids, by file, and the cause where it can be seen."""
    found = why_ids_differ(unknown, known)
    if found is not None:
        cause, unknown_id, known_id = found
        return f"e.g. {_shown(unknown_id)} in {events.name}, which {items.name} has as {_shown(known_id)}: {cause}"
    hint = "; one field holds several ids, where every event needs a row" if holds_several_ids(unknown, known) else ""
    return (
        f"e.g. {_shown(unknown[0])} in {events.name}, while {items.name} has ids such as "
        f"{_shown(known[len(known) // 2])}{hint}"
    )


def _shown(value: str) -> str:
    return quoted(value, _LONGEST_ID)
