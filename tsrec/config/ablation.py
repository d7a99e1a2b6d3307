"""What an ablation compares: variants of a configuration, over data sets and seeds; no stage reads it.

`Ablation` is what is asked of given configurations, and a form in the UI; `Grid` is the file of the command line, which
names the configurations too.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tsrec.config.base import EACH_ONCE, LOCAL_PATH, Section

Setting = Annotated[str, Field(pattern=r"^[^=]+=", description="As on the command line: `finetune.epochs=2`.")]


class AblationVariant(Section):
    """One row of the table: a name, and the settings that differ from the data set's configuration."""

    name: str = Field(pattern=r"^[^|\s]([^|\r\n\t]{0,58}[^|\s])?$", description="Name of the row.")
    set: tuple[Setting, ...] = Field(
        (), description="Settings that differ, as on the command line: `sa_init.initializer=random`."
    )


_ALIGNED, _NOT_ALIGNED = (
    tuple(f"finetune.tasks.{task}={weight}" for task in ("token_to_keywords", "keywords_to_token")) for weight in (1, 0)
)
_INITIALIZED, _RANDOM = "sa_init.initializer=keywords", "sa_init.initializer=random"
_BOTH_EACH_NONE = (
    AblationVariant(name="SA-Init + TS-Align", set=(_INITIALIZED, *_ALIGNED)),
    AblationVariant(name="SA-Init alone", set=(_INITIALIZED, *_NOT_ALIGNED)),
    AblationVariant(name="TS-Align alone", set=(_RANDOM, *_ALIGNED)),
    AblationVariant(name="neither", set=(_RANDOM, *_NOT_ALIGNED)),
)


class Ablation(Section):
    """Variants of a configuration, all measured on the same targets."""

    name: str = Field("ablation", pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Name of the comparison.")
    variants: Annotated[tuple[AblationVariant, ...], EACH_ONCE] = Field(
        _BOTH_EACH_NONE, min_length=1, description="The rows of the table."
    )
    reference: str = Field(
        _BOTH_EACH_NONE[0].name, description="The variant that all others are compared with: the full model."
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], EACH_ONCE] = Field(
        (1,), min_length=1, description="Every variant is trained once with each."
    )
    seeded: Annotated[tuple[str, ...], EACH_ONCE] = Field(
        ("finetune.seed",), min_length=1, description="The fields that get the seed."
    )
    split: Literal["valid", "test"] = Field(
        "valid", description="Targets that are measured. Choose on valid; read test once."
    )
    fused: bool = Field(
        False, description="Also fit the other members and fuse them with each variant's LLM; else the LLM alone."
    )
    out: Annotated[str | None, LOCAL_PATH] = Field(
        None, min_length=1, description="Folder of the tables and pictures; empty: ablations/NAME."
    )

    @property
    def folder(self) -> str:
        """Where the tables and pictures go."""
        return self.out or f"ablations/{self.name}"

    @model_validator(mode="after")
    def _has_its_reference(self) -> "Ablation":
        names = [variant.name for variant in self.variants]
        if self.reference not in names:
            raise ValueError(f"reference: no variant is called {self.reference!r}; name one of {', '.join(names)}")
        return self


class GridDataset(Section):
    """One data set of a grid, with the settings that suit it."""

    profile: Annotated[str | None, LOCAL_PATH] = Field(
        None, min_length=1, description="Its profile; empty: the defaults (MovieLens-100K)."
    )
    set: tuple[Setting, ...] = Field((), description="Settings that differ from the profile.")


class Grid(Ablation):
    """The file of `tsrec ablation`: a comparison, and the data sets that it is made on."""

    datasets: tuple[GridDataset, ...] = Field(min_length=1, description="The columns of the table.")
    set: tuple[Setting, ...] = Field((), description="Settings of all runs, before those of data sets and variants.")
