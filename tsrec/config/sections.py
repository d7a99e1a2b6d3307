"""All sections of the configuration, one per stage. `root` adds the rules that span them; `base` says what one is."""

from typing import Annotated, Self

from pydantic import Field, field_validator

from tsrec.config.base import FOLDER_OR_URL, Device, InForce, Precision, Section, runtime
from tsrec.config.evaluate import EvaluateConfig
from tsrec.config.finetune import BackboneConfig, FinetuneConfig
from tsrec.config.ingest import IngestConfig
from tsrec.config.keywords import KeywordsConfig, SemanticsConfig
from tsrec.config.recommend import DecodeConfig, FuseConfig, MembersConfig, RecommendConfig
from tsrec.config.refresh import RefreshConfig
from tsrec.config.rl import RlConfig
from tsrec.config.sa_init import SaInitConfig
from tsrec.config.sids import EmbedConfig, SidsConfig
from tsrec.store.manifest import DATASET_PATTERN, SHARED


class Sections(Section):
    """The sections by name, and what follows from several of them."""

    # In the order of the form: what a person changes comes first.
    dataset: str = Field(
        "ml-100k",
        title="Data set",
        pattern=DATASET_PATTERN,
        description="Name of the data set: a folder of the artifact store.",
    )
    ingest: IngestConfig = Field(
        IngestConfig(), title="Data (ingest)", description="Raw files -> items and interactions."
    )
    keywords: KeywordsConfig = Field(
        KeywordsConfig(), title="Teacher (keywords)", description="Items -> keywords, which give tokens their meaning."
    )
    backbone: BackboneConfig = Field(BackboneConfig(), title="LLM (backbone)", description="The pretrained LLM.")
    finetune: FinetuneConfig = Field(
        FinetuneConfig(), title="Training (finetune)", description="Supervised fine-tuning of the LLM."
    )
    members: MembersConfig = Field(
        MembersConfig(), title="Members (members)", description="What the fusion has beside the LLM."
    )
    recommend: RecommendConfig = Field(
        RecommendConfig(), title="Rules (recommend)", description="What holds for everything that recommends."
    )
    refresh: RefreshConfig = Field(
        RefreshConfig(), title="Refreshes (refresh)", description="New data without starting over."
    )
    embed: EmbedConfig = Field(EmbedConfig(), title="Text encoder (embed)", description="Items -> text embeddings.")
    sids: SidsConfig = Field(SidsConfig(), title="Semantic IDs (sids)", description="Embeddings -> semantic IDs.")
    sa_init: SaInitConfig = Field(
        SaInitConfig(), title="First token embeddings (sa_init)", description="Keywords -> initial token embeddings."
    )
    semantics: Annotated[SemanticsConfig, InForce(lambda config: config.needs_semantics())] = Field(
        SemanticsConfig(),
        title="Clusters in words (semantics)",
        description="Who describes SID tokens, for TS-Align.",
    )
    rl: Annotated[RlConfig, InForce(lambda config: config.has_rl())] = Field(
        RlConfig(), title="RL after training (rl)", description="The LLM learns to list the next item higher."
    )
    decode: DecodeConfig = Field(
        DecodeConfig(), title="The LLM's lists (decode)", description="Constrained beam search."
    )
    fuse: FuseConfig = Field(FuseConfig(), title="Fusion (fuse)", description="All members' lists -> one.")
    evaluate: EvaluateConfig = Field(
        EvaluateConfig(), title="Metrics (evaluate)", description="What is measured, and against what."
    )
    device: Device = Field("auto", description="Of the encoder and the LLM: auto, cpu, cuda, cuda:1 ...")
    precision: Precision = Field(
        "auto",
        description="Of the LLM's matrix products. auto: bfloat16 where the processor multiplies it natively, else "
        "float32.",
    )
    store: Annotated[str, FOLDER_OR_URL] = runtime(
        "artifacts",
        title="Artifact store",
        min_length=1,
        description="Artifact store: a folder or an fsspec URL (s3://...).",
    )
    profile: str = runtime(
        "",
        description="Name of these settings, FOLDER/FILE of the profile unless given: `tsrec artifacts gc` keeps the "
        "newest runs of every name.",
    )

    @field_validator("dataset")
    @classmethod
    def _is_not_reserved(cls, dataset: str) -> str:
        if dataset == SHARED:
            raise ValueError(f"{SHARED!r} is the store's folder for what depends on no data set; choose another name")
        return dataset

    def of_a_refresh(self) -> Self:
        """The same configuration for a refresh, which ranks at most `refresh.max_targets` targets of each split."""
        return self.model_copy(update={"recommend": self.recommend.at_most(self.refresh.max_targets)})

    def has_rl(self) -> bool:
        """Whether the fine-tuned LLM goes on learning from its own lists."""
        return self.rl.epochs > 0

    def needs_semantics(self) -> bool:
        """Whether fine-tuning teaches what `sa_init` does not know: an LLM's descriptions."""
        return self.finetune.tasks.with_meanings() and self.semantics.teacher != "keyless"
