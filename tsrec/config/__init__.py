"""Configuration: strict pydantic sections, one per stage, and the profiles that fill them.

Fields made with `runtime` change how a stage runs but not its result, and stay out of fingerprints.
"""

from tsrec.config.evaluate import BaselinesConfig, EvaluateConfig, ReportConfig
from tsrec.config.finetune import BackboneConfig, FinetuneConfig, LoraConfig, Precision, TaskWeights
from tsrec.config.ingest import IngestConfig, InteractionColumns, ItemColumns, TableFormat
from tsrec.config.keywords import KeywordsConfig, OpenAIConfig
from tsrec.config.profiles import load_config
from tsrec.config.root import Config
from tsrec.config.sa_init import SaInitConfig
from tsrec.config.section import Section, canonical
from tsrec.config.sids import EmbedConfig, SidsConfig

__all__ = [
    "BackboneConfig",
    "BaselinesConfig",
    "Config",
    "EmbedConfig",
    "EvaluateConfig",
    "FinetuneConfig",
    "IngestConfig",
    "InteractionColumns",
    "ItemColumns",
    "KeywordsConfig",
    "LoraConfig",
    "OpenAIConfig",
    "Precision",
    "ReportConfig",
    "SaInitConfig",
    "Section",
    "SidsConfig",
    "TableFormat",
    "TaskWeights",
    "canonical",
    "load_config",
]
