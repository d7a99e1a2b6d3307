"""What the baselines, evaluate and report stages read."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tsrec.config.section import Device, Section, runtime


class BaselinesConfig(Section):
    """Methods that an LLM has to beat."""

    methods: tuple[Literal["popular", "transitions", "item-knn", "sasrec"], ...] = Field(
        ("popular", "transitions", "sasrec"), description="Baselines in the table."
    )
    top_k: int = Field(20, ge=1, description="Items kept per target.")
    sasrec_hidden: int = Field(64, ge=8, description="SASRec: width.")
    sasrec_layers: int = Field(2, ge=1, description="SASRec: layers.")
    sasrec_epochs: int = Field(30, ge=1, description="SASRec: most epochs; early stopping on valid.")
    sasrec_window: int = Field(50, ge=2, description="SASRec: longest history, in items.")
    exclude_seen: bool = Field(False, description="Never recommend what the user already has.")
    seed: int = Field(1, ge=0, description="Seed of SASRec.")


class EvaluateConfig(Section):
    """Constrained beam search and metrics."""

    split: Literal["valid", "test"] = Field("test", description="Targets that are scored.")
    beams: int = Field(20, ge=1, le=512, description="Beams per user.")
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (3, 5, 10), min_length=1, description="Cut-offs of HR@K and NDCG@K."
    )
    max_history: int = Field(20, ge=1, description="Items of history in the prompt: the last ones.")
    exclude_seen: bool = Field(False, description="Never recommend what the user already has.")
    all_users: bool = Field(False, description="Also write the next recommendations of every user.")
    bootstrap_samples: int = Field(1000, ge=100, description="Resamples behind the confidence intervals.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the intervals.")
    seed: int = Field(1, ge=0, description="Seed of the bootstrap.")
    batch_users: int = runtime(64, ge=1, description="Users decoded at once.")
    shard_users: int = runtime(1024, ge=1, description="Users per shard; a killed run resumes at the next shard.")
    device: Device = Field("auto", description="auto, cpu, cuda, cuda:1 ...")

    @model_validator(mode="after")
    def _enough_beams(self) -> "EvaluateConfig":
        if self.beams < max(self.k):
            raise ValueError(f"beams = {self.beams} cannot fill a list of {max(self.k)} items; raise evaluate.beams")
        return self


class ReportConfig(Section):
    """The HTML report."""

    n_users: int = Field(5, ge=0, le=100, description="Users whose history and recommendations are shown.")
    n_examples: int = Field(3, ge=1, le=20, description="Example items shown per token.")
