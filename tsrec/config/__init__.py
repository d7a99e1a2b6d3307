"""Configuration: strict pydantic sections, one per stage, and the profiles that fill them.

Fields made with `runtime` change how a stage runs but not its result, and stay out of fingerprints.
"""

from tsrec.config.ablation import Ablation
from tsrec.config.base import Section, canonical, neutral_value
from tsrec.config.batch_request import ALL_USERS, BatchRequest
from tsrec.config.evaluate import EvaluateConfig
from tsrec.config.finetune import BackboneConfig, FinetuneConfig, FinetuneSettings, TaskWeights
from tsrec.config.grids import configs_of, load_grid
from tsrec.config.ingest import IngestConfig, InteractionColumns, TableFormat
from tsrec.config.keywords import KeywordsConfig, OpenAIConfig
from tsrec.config.profiles import load_config, with_overrides
from tsrec.config.recommend import DecodeConfig, FuseConfig, MembersConfig, RecommendConfig, Repeats, SasRecConfig
from tsrec.config.refresh import ContinuedFinetune, DriftConfig
from tsrec.config.rl import RlConfig, RlSettings
from tsrec.config.root import Config
from tsrec.config.sa_init import SaInitConfig, SaInitSettings
from tsrec.config.sids import EmbedConfig, SidsConfig

__all__ = [
    "ALL_USERS",
    "Ablation",
    "BackboneConfig",
    "BatchRequest",
    "Config",
    "ContinuedFinetune",
    "DecodeConfig",
    "DriftConfig",
    "EmbedConfig",
    "EvaluateConfig",
    "FinetuneConfig",
    "FinetuneSettings",
    "FuseConfig",
    "IngestConfig",
    "InteractionColumns",
    "KeywordsConfig",
    "MembersConfig",
    "OpenAIConfig",
    "RecommendConfig",
    "Repeats",
    "RlConfig",
    "RlSettings",
    "SaInitConfig",
    "SaInitSettings",
    "SasRecConfig",
    "Section",
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
