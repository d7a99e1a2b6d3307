"""What tokens and beginnings of SIDs mean, and who puts it into words."""

from typing import Literal

from pydantic import Field

from tsrec.config.section import Section


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
