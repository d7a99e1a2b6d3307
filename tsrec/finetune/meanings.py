"""What SID tokens mean, as TS-Align teaches it: read from the stages that found it out."""

from dataclasses import dataclass

from tsrec.columns import Columns as C
from tsrec.stage import Parents
from tsrec.store import Artifact


@dataclass(frozen=True)
class Meaning:
    """A cluster in words. Where a cluster has only a description, or only keywords, both fields hold it."""

    description: str
    keywords: str


def meanings_of(artifact: Artifact) -> dict[str, Meaning]:
    """Token -> what its cluster means, for all that mean anything; from the table `token_semantics`."""
    # Not through pandas, where a missing description is NaN, which passes for a text.
    rows = artifact.table("token_semantics", [C.TOKEN, C.DESCRIPTION, C.KEYWORDS]).to_pylist()
    found = {}
    for row in rows:
        keywords = ", ".join(row[C.KEYWORDS])
        meaning = Meaning(row[C.DESCRIPTION] or keywords, keywords or row[C.DESCRIPTION] or "")
        if meaning.description:
            found[row[C.TOKEN]] = meaning
    return found


def read_meanings(parents: Parents) -> dict[str, Meaning]:
    """What TS-Align teaches, by token: what `sa_init` says, and what `semantics` does, where that stage is a parent."""
    return meanings_of(parents["sa_init"]) | (meanings_of(parents["semantics"]) if "semantics" in parents else {})
