"""The semantic ID (SID): a short sequence of codes, one per level, and its spelling as LLM tokens.

Knows nothing of quantizers, tokenizers or models. Level 1 is written `a`: the SID (12, 200, 7) reads
`<a_12><b_200><c_7>`, the spelling of LC-Rec, MiniOneRec and TS-Rec.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tsrec.errors import DataError

_TOKEN = re.compile(r"<([a-z])_(\d+)>")


def format_token(level: int, code: int) -> str:
    """Spell one SID token; `level` counts from 0."""
    return f"<{chr(ord('a') + level)}_{code}>"


def is_token(text: str) -> bool:
    """Whether a text is the spelling of one SID token."""
    return _TOKEN.fullmatch(text) is not None


def parse_token(token: str) -> tuple[int, int]:
    """Read `<b_200>` as (level 1, code 200). Raises DataError on anything else."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise DataError(f"{token!r} is not a SID token; expected the form <a_12>")
    return ord(match[1]) - ord("a"), int(match[2])


def format_sid(codes: Sequence[int]) -> str:
    """Spell a whole SID, one token per level."""
    return "".join(format_token(level, int(code)) for level, code in enumerate(codes))


@dataclass(frozen=True)
class SidSpace:
    """How many codes each level has, and the flat numbering of all tokens: level by level, code by code."""

    sizes: tuple[int, ...]

    @property
    def n_levels(self) -> int:
        """Number of levels of a SID."""
        return len(self.sizes)

    @property
    def n_tokens(self) -> int:
        """Number of SID tokens over all levels."""
        return sum(self.sizes)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Flat index of code 0 of every level."""
        return tuple(sum(self.sizes[:level]) for level in range(self.n_levels))

    def tokens(self) -> list[str]:
        """All token spellings in flat order."""
        return [format_token(level, code) for level, size in enumerate(self.sizes) for code in range(size)]

    @classmethod
    def from_codes(cls, codes: Iterable[Sequence[int]]) -> "SidSpace":
        """Derive the smallest space that holds all given SIDs."""
        highest = [max(column) for column in zip(*codes, strict=True)]
        return cls(tuple(int(code) + 1 for code in highest))
