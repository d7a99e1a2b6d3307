"""Configuration: strict pydantic sections, one per stage, and the profiles that fill them.

Fields made with `runtime` change how a stage runs but not its result, and stay out of fingerprints.
"""

from tsrec.config.ablation import Ablation, AblationVariant, Grid, GridDataset
from tsrec.config.base import Section, canonical, neutral_value
from tsrec.config.batch_request import ALL_USERS, BatchRequest
from tsrec.config.evaluate import EvaluateConfig
from tsrec.config.finetune import (
    BackboneConfig,
    DistillConfig,
    FinetuneConfig,
    FinetuneSettings,
    LoraConfig,
    TaskWeights,
)
from tsrec.config.grids import configs_of, load_grid
from tsrec.config.ingest import IngestConfig, InteractionColumns, ItemColumns, TableFormat
from tsrec.config.keywords import KeywordsConfig, OpenAIConfig
from tsrec.config.profiles import load_config, with_overrides
from tsrec.config.recommend import (
    DecodeConfig,
    FuseConfig,
    LlmVariant,
    MemberName,
    MembersConfig,
    RecommendConfig,
    Repeats,
    SasRecConfig,
)
from tsrec.config.refresh import (
    ContinueConfig,
    ContinuedFinetune,
    DriftConfig,
    RefreshConfig,
)
from tsrec.config.rl import RlConfig, RlSettings
from tsrec.config.root import Config
from tsrec.config.sa_init import SaInitConfig, SaInitSettings
from tsrec.config.semantics import SemanticsConfig
from tsrec.config.sids import EmbedConfig, SidsConfig

__all__ = [
    "ALL_USERS",
    "Ablation",
    "AblationVariant",
    "BackboneConfig",
    "BatchRequest",
    "Config",
    "ContinueConfig",
    "ContinuedFinetune",
    "DecodeConfig",
    "DistillConfig",
    "DriftConfig",
    "EmbedConfig",
    "EvaluateConfig",
    "FinetuneConfig",
    "FinetuneSettings",
    "FuseConfig",
    "Grid",
    "GridDataset",
    "IngestConfig",
    "InteractionColumns",
    "ItemColumns",
    "KeywordsConfig",
    "LlmVariant",
    "LoraConfig",
    "MemberName",
    "MembersConfig",
    "OpenAIConfig",
    "RecommendConfig",
    "RefreshConfig",
    "Repeats",
    "RlConfig",
    "RlSettings",
    "SaInitConfig",
    "SaInitSettings",
    "SasRecConfig",
    "Section",
    "SemanticsConfig",
    "SidsConfig",
    "TableFormat",
    "TaskWeights",
    "canonical",
    "configs_of",
    "load_config",
    "load_grid",
    "neutral_value",
    "with_overrides",
]
