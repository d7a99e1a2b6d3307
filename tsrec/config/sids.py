"""What the embed and sids stages read: the text encoder and the quantizer, or a file of SIDs."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tsrec.config.base import (
    LOCAL_FILE,
    MODEL,
    NOT_IMPORTED,
    AddedLater,
    ImportingSection,
    ResolvesTo,
    Section,
    runtime,
)

QuantizerName = Literal["residual-kmeans", "balanced-kmeans", "rq-vae", "opq"]


AUTO_ENCODER, MINILM, STATIC_ENCODER = "auto", "all-minilm-l6-v2", "static-minilm-l6-v2"
MINILM_OF_ANY_SIZE = f"{MINILM}, whatever the size"
STATIC_ITEMS = 200_000
"""In a catalogue of more items, `auto` is the static encoder."""
# MiniLM was the default, and `auto` goes by its name, so that what it made is found again. Whether a catalogue is large
# follows from `ingest`, which is fingerprinted, too. MiniLM for a catalogue of any size is then something else.
_FINGERPRINTED = {AUTO_ENCODER: MINILM, MINILM: MINILM_OF_ANY_SIZE}


class EmbedConfig(Section):
    """The text encoder."""

    encoder: Annotated[str, MODEL, ResolvesTo(lambda _, name: _FINGERPRINTED.get(name, name))] = Field(
        AUTO_ENCODER,
        min_length=1,
        description=f"`{MINILM}` from its PyPI wheel; `{STATIC_ENCODER}`: distilled from it, a hundred times as fast, "
        "a little worse; or any sentence-transformers model name or folder. auto: the first, and above "
        f"{STATIC_ITEMS:,} items the second.",
    )


class SidsConfig(ImportingSection):
    """The quantizer, or SIDs made elsewhere."""

    import_file: Annotated[str | None, LOCAL_FILE] = runtime(  # its hash, not its place, is fingerprinted
        None,
        description="JSON file item_id -> list of tokens (`<a_1>`, `<b_2>`, ...), in `ingest.path` or elsewhere; "
        "replaces the quantizer.",
    )
    quantizer: Annotated[QuantizerName, AddedLater("residual-kmeans"), NOT_IMPORTED] = Field(
        "residual-kmeans",
        description="residual-kmeans: every level clusters what the levels before have left. balanced-kmeans: the "
        "same, and all codes of a level serve about as many items. rq-vae: within a trained autoencoder. opq: levels "
        "are independent, each codes its own part of the rotated embedding.",
    )
    codes_per_level: Annotated[tuple[int, ...], NOT_IMPORTED] = Field(
        (256, 256, 256),
        min_length=1,
        max_length=8,
        description="Codes of each level; reduced where the catalogue has fewer than four items for each.",
    )
    cooccurrence: Annotated[float, AddedLater(0.0), NOT_IMPORTED] = Field(
        0.5,
        ge=0,
        description="Weight of what is bought together beside the texts, as the quantizer sees items: 0: texts alone; "
        "1: both spread items equally far. Only train is read; an item without events there stands by its text.",
    )
    unique: Annotated[bool, NOT_IMPORTED] = Field(
        True,
        description="Move colliding items to the next nearest free code of the last level; else they share.",
    )
    max_largest_cluster: Annotated[float, NOT_IMPORTED] = Field(
        0.5,
        gt=0,
        le=1,
        description="Largest share of items that one level-1 code may hold before it is a collapse.",
    )
    min_utilization: Annotated[float, NOT_IMPORTED] = Field(
        0.1, ge=0, le=1, description="Smallest share of a level's codes in use before it is a collapse."
    )
    seed: Annotated[int, NOT_IMPORTED] = Field(1, ge=0, description="Seed of the quantizer.")

    @model_validator(mode="after")
    def _codes_in_range(self) -> "SidsConfig":
        for size in self.codes_per_level:
            if not 2 <= size <= 32_767:
                raise ValueError(f"codes_per_level holds {size}; each level needs 2 to 32767 codes")
        return self
