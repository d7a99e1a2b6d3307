"""What a refresh reads beyond the sections of the stages: how training goes on, and when the new model is promoted."""

from typing import Literal

from pydantic import Field

from tsrec.config.base import Section, runtime
from tsrec.config.finetune import FinetuneSettings

# Of the whole training's peak rates: at high ones, short trainings unlearn more than they learn.
_LEARNING_RATE_SHARE = 0.1


class ContinueConfig(Section):
    """How fine-tuning goes on from the champion's weights, relative to a training from the start."""

    replay: float = Field(
        0.2, ge=0, le=1, description="Share of what the champion was trained on that is seen again, drawn at random."
    )
    epochs: float = Field(0.3, gt=0, le=1, description="Passes over what is new and replayed: share of epochs.")


class DriftConfig(Section):
    """When a rebuild is due: codebooks and SIDs stay as they were made, and what they were not made for adds up."""

    max_placed_items: float = runtime(
        0.3, gt=0, le=1, description="Share of the catalogue that has come since the codebooks were made."
    )
    max_popularity_shift: float = runtime(
        0.3,
        gt=0,
        le=1,
        description="Jensen-Shannon divergence, in bits and beyond chance, of what the newest window holds from what "
        "the champion was trained on.",
    )


class RefreshConfig(Section):
    """New data without starting over: the same stages, each extending what the champion was made from."""

    training: ContinueConfig = Field(ContinueConfig(), description="How fine-tuning goes on.")
    max_targets: int = runtime(
        1_000,
        ge=100,
        description="Most targets of valid, and of test, that a refresh ranks: fusing and judging need no more, and "
        "ranking all would cost more than training. `tsrec run` has recommend.max_valid_targets, and all of test.",
    )
    settle_s: float = runtime(
        30.0, ge=0, le=600, description="Seconds for which no raw file may have changed: else it is waited for."
    )
    promote: Literal["unless-worse", "if-better", "never"] = runtime(
        "unless-worse",
        description="When the new model becomes the champion: unless its NDCG at the largest evaluate.k is lower than "
        "the champion's, or than that of the best champion since the last rebuild; or only if it is higher than the "
        "champion's; or never by itself. All on the same newest targets, at the level of 95 %; where too "
        "few users tell nothing, nothing is promoted.",
    )
    min_targets: int = runtime(
        100, ge=1, description="With fewer targets, nothing is promoted: they could not tell better from worse."
    )
    min_coverage: float = runtime(
        0.5,
        ge=0,
        description="Nothing is promoted whose lists show less than this share of as many different items as the "
        "champion's.",
    )
    refit: bool = runtime(
        False,
        description="Before a model becomes the champion, fit its members (not the LLM) once more on every event, the "
        "newest included; those serve, and what was measured stays what it was.",
    )
    drift: DriftConfig = runtime(DriftConfig(), description="When a rebuild is due.")
    rebuild: Literal["ask", "start"] = runtime(
        "ask",
        description="What follows where drift is above a bound. ask: the summary says so. start: everything is built "
        "from nothing at once, and judged like a refresh.",
    )
    gc_keep: int | None = runtime(
        None,
        ge=1,
        description="After a refresh that built something, collect garbage as `tsrec artifacts gc --keep N` does; "
        "empty: remove nothing.",
    )


class ContinuedFinetune(Section):
    """What the finetune stage reads where it goes on from another model's weights."""

    whole: FinetuneSettings
    go_on: ContinueConfig

    def shortened(self) -> FinetuneSettings:
        """The recipe of this training: epochs, warm-up and rates are shares of the whole's.

        It runs to its end: at such rates the loss on valid falls all the way. It is evaluated once:
        evaluating often would cost as much again as the training.
        """
        whole, share = self.whole, self.go_on
        own_rate = whole.sid_learning_rate and whole.sid_learning_rate * _LEARNING_RATE_SHARE
        changes = {
            "epochs": whole.epochs * share.epochs,
            "warmup_steps": round(whole.warmup_steps * share.epochs),
            "learning_rate": whole.learning_rate * _LEARNING_RATE_SHARE,
            "sid_learning_rate": own_rate,
            "patience": None,
            "evals_per_epoch": 1,
        }
        return whole.model_copy(update=changes)
