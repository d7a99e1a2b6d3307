"""What the semantics stage reads: what tokens and beginnings of SIDs mean, and who puts it into words."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from tsrec.config.finetune import Semantics
from tsrec.config.keywords import OpenAIConfig
from tsrec.config.section import InForce, Section

if TYPE_CHECKING:
    from tsrec.config.root import Config

_OF_PREFIXES = InForce(lambda semantics: semantics.of != "token")


class SemanticsConfig(Section):
    """Item clusters in words, for TS-Align."""

    teacher: Literal["keyless", "openai"] = Field(
        "keyless",
        description="Who describes clusters. keyless: a template, from the strongest keywords and the nearest items. "
        "openai: the LLM of keywords.openai, from the same.",
    )
    n_keywords: int = Field(8, ge=1, le=64, description="Keywords kept per cluster: the most distinguishing ones.")
    min_items: int = Field(
        2, ge=1, description="Beginnings of SIDs with fewer items are left out: what one item is, its title says."
    )
    contrast: Literal["siblings", "level"] = Field(
        "siblings",
        description="What the keywords of a SID's beginning set it apart from: those with the same parents, or all "
        "that are as long.",
    )


class ClusterSemantics(Section):
    """What the semantics stage reads: its own section, and what others say that it has to make."""

    teacher: Literal["keyless", "openai"]
    n_keywords: int
    min_items: Annotated[int, _OF_PREFIXES]
    contrast: Annotated[Literal["siblings", "level"], _OF_PREFIXES]
    of: Semantics
    single_tokens: bool
    openai: Annotated[OpenAIConfig, InForce(lambda semantics: semantics.teacher == "openai")]


def cluster_semantics(config: "Config") -> ClusterSemantics:
    """Of a run. Single tokens are described once more only by an LLM: the template's stand in `sa_init`, as imported
    ones do."""
    own = config.semantics
    return ClusterSemantics(
        teacher=own.teacher,
        n_keywords=own.n_keywords,
        min_items=own.min_items,
        contrast=own.contrast,
        of=config.finetune.semantics,
        single_tokens=own.teacher == "openai" and not config.sa_init.import_file,
        openai=config.keywords.openai,
    )
