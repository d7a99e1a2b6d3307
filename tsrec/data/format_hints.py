"""Guesses the encoding, the separator and the time format of a file that could not be read.

For messages only: no file is read by a guess.
"""

import codecs
import re
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path

import pandas as pd
from charset_normalizer import from_bytes

from tsrec.data.compressed_files import open_bytes

_SEPARATORS = ("::", "\t", ";", "|", ",", "\x01")
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8"}
# What text is in fact written in, of all that could be read by chance.
_USUAL = (
    "cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 iso8859_2 koi8_r cp932 euc_jp gb18030 big5 cp949 cp874"
)
_SAMPLE_LINES, _SAMPLE_BYTES = 50, 1 << 16
_DAYS = (
    *("%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%m-%d-%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%Y年%m月%d日"),
)
_NAMED_DAYS = ("%d %b %Y", "%d %b, %Y", "%b %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y", "%d %B %Y", "%B %d, %Y")
_HOURS = (
    *("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %H:%M:%S,%f", " %I:%M %p", " %I:%M:%S %p"),
    *(", %H:%M", ", %H:%M:%S", ":%H:%M:%S"),
)
_ZONES = {" UTC": " UTC", " GMT": " GMT", r" ([+-]\d\d:?\d\d|Z)": " %z", r":\d\d(\.\d+)?([+-]\d\d:?\d\d|Z)": "%z"}
_WHOLE = (
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S UTC %Y",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S GMT",
)
_SAMPLE_TIMES = 1000


def likely_separator(lines: Sequence[str]) -> str | None:
    """What stands equally often, and most often, in all lines; None where nothing does."""
    lines = [line for line in lines if line.strip()]
    found: dict[str, int] = {}
    for separator in _SEPARATORS:
        counts = {line.count(separator) for line in lines}
        if len(counts) == 1 and 0 not in counts:
            found[separator] = counts.pop()
    if not found and len({line.count(" ") for line in lines}) == 1 and " " in lines[0]:
        return " "  # only where nothing else does, as blanks stand in texts
    return max(found, key=lambda separator: found[separator]) if found else None


def likely_encoding(path: Path) -> str:
    """The encoding that reads the file's first lines that are not ASCII, as well as can be told from so few."""
    with open_bytes(path) as stream:
        start = stream.read(4)
        for mark, name in _MARKS.items():
            if start.startswith(mark) and name != "utf-8":
                return name
        if b"\0" in start:
            return "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
    with open_bytes(path) as stream:  # not every packing goes back
        sample = b"".join(islice((line for line in stream if not line.isascii()), _SAMPLE_LINES))[:_SAMPLE_BYTES]
    western = _western(sample)
    if western:
        return western
    best = from_bytes(sample, cp_isolation=_USUAL.split()).best()
    return codecs.lookup(best.encoding).name if best is not None else "latin-1"


def _western(sample: bytes) -> str | None:
    """`latin-1` or `cp1252` where the bytes above ASCII are mostly single letters between ASCII ones, as in Western
    European text; statistics tell little about a few names."""
    high = [place for place, byte in enumerate(sample) if byte >= 0x80]
    alone = [place for place in high if place - 1 not in (near := set(high)) and place + 1 not in near]
    if len(alone) < 0.8 * len(high):
        return None
    return "cp1252" if any(0x80 <= sample[place] < 0xA0 for place in high) else "latin-1"


def undecodable_line(path: Path, encoding: str) -> int | None:
    """Number of the first line that is not of this encoding: readers report only a place within their buffer. None
    where each is."""
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return number
    return None


def likely_time_formats(times: pd.Series) -> list[str]:
    """The formats, at most two, that read all of the first times: often two, as 11/10/2019 is a day in two orders."""
    sample = times[:_SAMPLE_TIMES].astype(str)
    zones = [zone for end, zone in _ZONES.items() if len(sample) and re.search(f"{end}$", sample.iloc[0])] or [""]
    layouts = (*_WHOLE, *("".join(parts) for parts in product((*_DAYS, *_NAMED_DAYS), _HOURS, zones)))
    fitting = (layout for layout in layouts if _fits(sample[:1], layout) and _fits(sample, layout))
    return list(islice(fitting, 2))


def _fits(times: pd.Series, layout: str) -> bool:
    return bool(pd.to_datetime(times, format=layout, errors="coerce", utc=True).notna().all())
