"""Text files of ids, one a line, as people bring them: a line that is a header, and why ids are not known.

Knows what is known only as an iterable of ids, users' or items', which is read once and not kept.
"""

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tsrec.errors import DataError, quoted

logger = logging.getLogger(__name__)

SAMPLE = 1_000  # unknown ids by which a cause is looked for
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
                    raise DataError(_no_text(file))
                if text := line.strip():
                    yield text
    except UnicodeDecodeError:
        raise DataError(_no_text(file)) from None
    except OSError as error:
        raise DataError(f"{file}: not readable: {error}") from None


def likely_header(file: Path, column: str | None = None) -> str | None:
    """The first line where it reads like a column's name: by what it says, or for want of digits where all that follow
    have some. It is a header if it is no known id. `column` is the name that the raw data have for it."""
    first, *others = [*itertools.islice(read_lines(file), SAMPLE)] or [""]
    first_bare = first.strip("\"'")
    without_digits = not _has_digit(first) and bool(others) and all(map(_has_digit, others))
    return first if _COLUMN.fullmatch(first_bare) or first_bare == column or without_digits else None


def warn_header(what: str, file: Path, header: str) -> None:
    """Log that the first line is left out."""
    logger.warning("%s: %s: its first line %s is no known id and taken for a header", what, file, _shown(header))


def check_unknown_ids(
    what: str, file: Path, unknown: Sequence[str], n_unknown: int, n_ids: int, known: Iterable[str], max_unknown: float
) -> None:
    """Say in the log how many ids of a list are not known, with an example and the cause.

    Args:
        what: the setting that names the file.
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
    text = f"{what}: {file}: {n_unknown:,} of {n_ids:,} ids are not known, e.g. {_why(unknown, known)}"
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


def _as_it_is(text: str) -> str:
    return text


# what is wrong, and the forms in which a listed and a known id meet; the simplest cause first
_CAUSES: tuple[tuple[str, Callable[[str], str], Callable[[str], str]], ...] = (
    ("the list has them in quotation marks", _unquoted, _as_it_is),
    ("the list is written as JSON", _first_of_json, _as_it_is),
    ("the list has more columns than the id", _first_column, _as_it_is),
    ("the list has them as decimal numbers", _without_point, _as_it_is),
    ("letters differ in case", str.lower, str.lower),
    ("leading zeros are lost on one side", _without_zeros, _without_zeros),
)


def _why(unknown: Sequence[str], known: Iterable[str]) -> str:
    """An example, and the cause that explains most of the unknown ids; where none does, what known ids look like."""
    forms = [{ours(listed): listed for listed in unknown} for _, ours, _ in _CAUSES]
    found: list[dict[str, str]] = [{} for _ in _CAUSES]  # of each cause, listed id -> known id
    example = None
    for one in known:
        example = example or one
        for mine, meant, (_, _, theirs) in zip(found, forms, _CAUSES, strict=True):
            if (listed := meant.get(theirs(one))) is not None:
                mine.setdefault(listed, one)
    best = max(range(len(_CAUSES)), key=lambda cause: len(found[cause]))
    if not found[best]:
        return f"{_shown(unknown[0])}; known are such as {_shown(example or '')}"
    example, known_as = next(iter(found[best].items()))
    return f"{_shown(example)}, which is known as {_shown(known_as)}: {_CAUSES[best][0]}"


def _no_text(file: Path) -> str:
    with file.open("rb") as stream:
        start = stream.read(4096)
    looks = " (it looks like UTF-16)" if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start[:2] else ""
    return f"{file}: is not written in UTF-8{looks}; save it as a text file in UTF-8, one id a line"


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))


def _shown(value: str) -> str:
    return quoted(value, _LONGEST_ID)
