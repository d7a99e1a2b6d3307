"""What the evaluate and report stages read."""

from typing import Annotated, Literal

from pydantic import Field

from tsrec.config.section import Section


class EvaluateConfig(Section):
    """Metrics of every member and of the fusion."""

    split: Literal["valid", "test"] = Field("test", description="Targets that are scored.")
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (3, 5, 10), min_length=1, description="Cut-offs of HR@K, NDCG@K and MRR@K."
    )
    baseline: str = Field(
        "transitions", min_length=1, description="Method that all others are compared with, target by target."
    )
    bootstrap_samples: int = Field(1000, ge=100, description="Resamples of users behind the confidence intervals.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the intervals.")
    seed: int = Field(1, ge=0, description="Seed of the bootstrap.")


class ReportConfig(Section):
    """The HTML report."""

    n_users: int = Field(5, ge=0, le=100, description="Users whose history and recommendations are shown.")
    n_examples: int = Field(3, ge=1, le=20, description="Example items shown per token.")
