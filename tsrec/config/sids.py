"""What the embed and sids stages read: the text encoder and the quantizer, or a file of SIDs."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tsrec.config.section import (
    LOCAL_FILE,
    MODEL,
    NOT_IMPORTED,
    AddedLater,
    ImportingSection,
    InForce,
    Section,
    runtime,
)

QuantizerName = Literal["residual-kmeans", "balanced-kmeans", "rq-vae", "opq"]
_WITH_COOCCURRENCE = InForce(lambda sids: sids.cooccurrence > 0)


class EmbedConfig(Section):
    """The text encoder."""

    encoder: Annotated[str, MODEL] = Field(
        "all-minilm-l6-v2",
        min_length=1,
        description="`all-minilm-l6-v2` from its PyPI wheel, or any sentence-transformers model name or folder.",
    )
    batch_items: int = runtime(64, ge=1, description="Items encoded at once.")


class RqVaeConfig(Section):
    """RQ-VAE: an autoencoder whose middle is quantized level by level; half a minute on one core."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (256,), max_length=8, description="Widths of the encoder's hidden layers; the decoder has them in reverse."
    )
    latent: int = Field(64, ge=1, description="Width of what is quantized.")
    steps: int = Field(1000, ge=1, description="Steps of AdamW.")
    batch_size: int = Field(1024, ge=1, description="Items per step.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate, cosine decay to 0.")
    commitment: float = Field(0.25, ge=0, description="How strongly the encoder is pulled to its codes.")


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
        description="Codes of each level; reduced where the catalogue is too small for so many.",
    )
    min_items_per_code: Annotated[int, NOT_IMPORTED] = Field(
        4,
        ge=1,
        description="A level gets at most (number of items / this) codes, so that small catalogues share.",
    )
    iterations: Annotated[int, NOT_IMPORTED] = Field(50, ge=1, description="k-means iterations per level.")
    rq_vae: Annotated[RqVaeConfig, InForce(lambda sids: sids.quantizer == "rq-vae"), NOT_IMPORTED] = Field(
        RqVaeConfig(), description="Used when quantizer is rq-vae."
    )
    cooccurrence: Annotated[float, AddedLater(0.0), NOT_IMPORTED] = Field(
        0.5,
        ge=0,
        description="Weight of what is bought together beside the texts, as the quantizer sees items: 0: texts alone; "
        "1: both spread items equally far. Only train is read; an item without events there stands by its text.",
    )
    cooccurrence_window: Annotated[int, _WITH_COOCCURRENCE, NOT_IMPORTED] = Field(
        5, ge=1, le=50, description="Events of a user that are at most so far apart count as together."
    )
    cooccurrence_factors: Annotated[int, _WITH_COOCCURRENCE, NOT_IMPORTED] = Field(
        64, ge=1, le=1024, description="Numbers per item that co-occurrence is reduced to."
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
