"""The whole configuration: one section per stage."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from tsrec.config.evaluate import EvaluateConfig, ReportConfig
from tsrec.config.finetune import BackboneConfig, FinetuneConfig
from tsrec.config.ingest import IngestConfig
from tsrec.config.keywords import KeywordsConfig
from tsrec.config.recommend import DecodeConfig, FuseConfig, MembersConfig, RecommendConfig
from tsrec.config.refresh import RefreshConfig
from tsrec.config.rules import broken_rules
from tsrec.config.sa_init import SaInitConfig
from tsrec.config.section import LOCAL_PATH, Section, runtime
from tsrec.config.sids import EmbedConfig, SidsConfig
from tsrec.store.manifest import SHARED


class Config(Section):
    """One run of the pipeline. The defaults are the demo: MovieLens-100K, no key, no model hub, no GPU."""

    dataset: str = Field(
        "ml-100k",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="Name of the data set: a folder of the artifact store.",
    )
    profile: str = runtime(
        "",
        description="Name of these settings, FOLDER/FILE of the profile unless given: `tsrec artifacts gc` keeps the "
        "newest runs of every name.",
    )
    store: Annotated[str, LOCAL_PATH] = runtime(
        "artifacts", min_length=1, description="Artifact store: a folder or an fsspec URL (s3://...)."
    )
    ingest: IngestConfig = Field(IngestConfig(), description="Raw files -> items and interactions.")
    keywords: KeywordsConfig = Field(KeywordsConfig(), description="Items -> keywords.")
    embed: EmbedConfig = Field(EmbedConfig(), description="Items -> text embeddings.")
    sids: SidsConfig = Field(SidsConfig(), description="Embeddings -> semantic IDs.")
    backbone: BackboneConfig = Field(BackboneConfig(), description="The pretrained LLM.")
    sa_init: SaInitConfig = Field(SaInitConfig(), description="Keywords -> initial token embeddings.")
    finetune: FinetuneConfig = Field(FinetuneConfig(), description="Supervised fine-tuning.")
    recommend: RecommendConfig = Field(RecommendConfig(), description="Rules for everything that recommends.")
    members: MembersConfig = Field(MembersConfig(), description="The fusion's members beside the LLM.")
    decode: DecodeConfig = Field(DecodeConfig(), description="The LLM's lists, by beam search.")
    fuse: FuseConfig = Field(FuseConfig(), description="All members' lists -> one.")
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="Metrics.")
    report: ReportConfig = Field(ReportConfig(), description="The HTML page.")
    refresh: RefreshConfig = Field(RefreshConfig(), description="New data without starting over.")

    @field_validator("dataset")
    @classmethod
    def _is_not_reserved(cls, dataset: str) -> str:
        if dataset == SHARED:
            raise ValueError(f"{SHARED!r} is the store's folder for what depends on no data set; choose another name")
        return dataset

    def of_a_refresh(self) -> "Config":
        """The same, as a refresh of a champion builds it: no more targets are ranked than it needs."""
        return self.model_copy(update={"recommend": self.recommend.at_most(self.refresh.max_targets)})

    @model_validator(mode="after")
    def _sections_agree(self) -> "Config":
        if broken := broken_rules(self):
            raise ValueError("\n".join(broken))
        return self
