"""Who puts into words what SID tokens mean."""

from typing import Literal

from pydantic import Field

from tsrec.config.base import Section


class SemanticsConfig(Section):
    """Item clusters in words, for TS-Align."""

    teacher: Literal["keyless", "openai"] = Field(
        "keyless",
        description="Who describes the items of a token. keyless: a template, from the strongest keywords and typical "
        "items. openai: the LLM of keywords.openai, from the strongest keywords and the nearest items.",
    )
