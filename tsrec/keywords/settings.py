"""What the semantics stage reads, gathered from several sections."""

from typing import Annotated, Literal

from tsrec.config import Config, OpenAIConfig, Section, Semantics
from tsrec.config.section import InForce

_OF_PREFIXES = InForce(lambda semantics: semantics.of != "token")


class ClusterSemantics(Section):
    """What the semantics stage reads: its own section, and what others say that it has to make."""

    teacher: Literal["keyless", "openai"]
    n_keywords: int
    min_items: Annotated[int, _OF_PREFIXES]
    contrast: Annotated[Literal["siblings", "level"], _OF_PREFIXES]
    of: Semantics
    single_tokens: bool
    openai: Annotated[OpenAIConfig, InForce(lambda semantics: semantics.teacher == "openai")]


def cluster_semantics(config: Config) -> ClusterSemantics:
    """Of a run. Single tokens are described once more only by an LLM: the template's stand in `sa_init`, as imported
    ones do."""
    own = config.semantics
    return ClusterSemantics(
        teacher=own.teacher,
        n_keywords=own.n_keywords,
        min_items=own.min_items,
        contrast=own.contrast,
        of=config.finetune.semantics,
        single_tokens=own.teacher == "openai" and not config.sa_init.import_file,
        openai=config.keywords.openai,
    )
