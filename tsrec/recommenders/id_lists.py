"""Text files of user or item ids, one a line: reading them, finding a header line, and explaining unknown ids.

The known ids are an iterable, which is read once and not kept in memory.
"""

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tsrec.errors import DataError, quoted

logger = logging.getLogger(__name__)

SAMPLE = 1_000  # unknown ids that a cause is looked for in
_LONGEST_ID = 60  # characters of an id that a message shows
_COLUMN = re.compile(r"(?i:(.*[_ -])?ids?|(user|customer|item|product)s?(ids?)?|uid|sku|asin)|[A-Za-z]+I[dD]s?")


def read_lines(file: Path) -> Iterator[str]:
    """The lines of a text file that are not blank, without blanks around them.

    Raises:
        DataError: it cannot be read, or is no UTF-8 text.
    """
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for line in stream:
                if "\0" in line:
                    raise DataError(_not_utf8(file))
                if text := line.strip():
                    yield text
    except UnicodeDecodeError:
        raise DataError(_not_utf8(file)) from None
    except OSError as error:
        raise DataError(f"{file}: not readable: {error}") from None


def likely_header(file: Path, column: str | None = None) -> str | None:
    """The first line, if it reads like the name of a column; it is a header if it is no known id.

    It reads so by its words, or because it has no digit and all lines after it have one.

    Args:
        file: the list of ids.
        column: the name of the id's column in the raw data, if it is known.
    """
    first, *others = [*itertools.islice(read_lines(file), SAMPLE)] or [""]
    first_bare = first.strip("\"'")
    without_digits = not _has_digit(first) and bool(others) and all(map(_has_digit, others))
    return first if _COLUMN.fullmatch(first_bare) or first_bare == column or without_digits else None


def warn_header(setting: str, file: Path, header: str) -> None:
    """Log that the first line is left out."""
    logger.warning("%s: %s: its first line %s is no known id and taken for a header", setting, file, _shown(header))


def check_unknown_ids(
    setting: str,
    file: Path,
    unknown: Sequence[str],
    n_unknown: int,
    n_ids: int,
    known: Iterable[str],
    max_unknown: float,
) -> None:
    """Log how many ids of a list are not known, with an example and the likely cause.

    Args:
        setting: the setting that names the file.
        file: the file.
        unknown: some of the unknown ids.
        n_unknown: how many there are.
        n_ids: how many ids the file holds.
        known: all known ids; read only where some are unknown.
        max_unknown: the largest share that may be unknown.

    Raises:
        DataError: more are.
    """
    if not n_unknown:
        return
    text = f"{setting}: {file}: {n_unknown:,} of {n_ids:,} ids are not known, e.g. {_likely_cause(unknown, known)}"
    if n_unknown > max_unknown * n_ids:
        raise DataError(
            f"{text}. Write ids as the data have them, one a line; where new ones are meant, raise "
            f"max_unknown={max_unknown:g} (--max-unknown)"
        )
    logger.warning("%s", text)


def _unquoted(text: str) -> str:
    return text.strip("\"'").strip()


def _first_column(text: str) -> str:
    return _unquoted(re.split(r"[,;\t|]", text)[0].strip())


def _first_of_json(text: str) -> str:
    found = re.findall(r'"([^"]*)"\s*[,\]}]', text) if text[:1] in "[{" else []
    return found[0] if found else text


def _without_point(text: str) -> str:
    return re.sub(r"\.0+$", "", _unquoted(text))


def _without_zeros(text: str) -> str:
    return _without_point(text).lstrip("0")


def _unchanged(text: str) -> str:
    return text


# A cause, and how to change a listed and a known id so that they become equal; the simplest cause comes first.
_CAUSES: tuple[tuple[str, Callable[[str], str], Callable[[str], str]], ...] = (
    ("the list has them in quotation marks", _unquoted, _unchanged),
    ("the list is written as JSON", _first_of_json, _unchanged),
    ("the list has more columns than the id", _first_column, _unchanged),
    ("the list has them as decimal numbers", _without_point, _unchanged),
    ("letters differ in case", str.lower, str.lower),
    ("leading zeros are lost on one side", _without_zeros, _without_zeros),
)


def _likely_cause(unknown: Sequence[str], known: Iterable[str]) -> str:
    """An example, and the cause that explains most of the unknown ids; where none does, what known ids look like."""
    normalized = [{normalize(listed): listed for listed in unknown} for _, normalize, _ in _CAUSES]
    matches: list[dict[str, str]] = [{} for _ in _CAUSES]  # of each cause, listed id -> known id
    example = None
    for known_id in known:
        example = example or known_id
        for cause_matches, listed_ids, (_, _, normalize_known) in zip(matches, normalized, _CAUSES, strict=True):
            if (listed := listed_ids.get(normalize_known(known_id))) is not None:
                cause_matches.setdefault(listed, known_id)
    best = max(range(len(_CAUSES)), key=lambda cause: len(matches[cause]))
    if not matches[best]:
        return f"{_shown(unknown[0])}; known are such as {_shown(example or '')}"
    example, known_as = next(iter(matches[best].items()))
    return f"{_shown(example)}, which is known as {_shown(known_as)}: {_CAUSES[best][0]}"


def _not_utf8(file: Path) -> str:
    with file.open("rb") as stream:
        start = stream.read(4096)
    looks = " (it looks like UTF-16)" if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start[:2] else ""
    return f"{file}: is not written in UTF-8{looks}; save it as a text file in UTF-8, one id a line"


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))


def _shown(value: str) -> str:
    return quoted(value, _LONGEST_ID)
