"""What the evaluate stage reads."""

from typing import Annotated, Literal

from pydantic import Field

from tsrec.config.base import EACH_ONCE, Section


class EvaluateConfig(Section):
    """Metrics of every member and of the fusion."""

    split: Literal["valid", "test"] = Field("test", description="Targets that are scored.")
    k: Annotated[tuple[Annotated[int, Field(ge=1)], ...], EACH_ONCE] = Field(
        (3, 5, 10), min_length=1, description="Cut-offs of HR@K, NDCG@K and MRR@K."
    )
    baseline: str = Field(
        "transitions", min_length=1, description="Method that all others are compared with, target by target."
    )
