"""What everything that recommends reads: the rules for all members, each member's settings, the beams, the fusion."""

from typing import Annotated, Literal

from pydantic import Field, PlainSerializer

from tsrec.config.base import EACH_ONCE, AddedLater, Section, runtime

MemberName = Literal["popular", "transitions", "item-knn", "text-similarity", "sasrec"]
Repeats = Literal["forbidden", "learned"]


class RecommendConfig(Section):
    """Rules that hold for every member alike, so that their lists can be compared and fused."""

    repeats: Repeats = Field(
        "learned",
        description="Items that the user already has. forbidden: nobody recommends them. learned: the members may, and "
        "the fusion learns from valid how likely a repeat is.",
    )
    n_candidates: int = Field(
        200, ge=1, le=2000, description="Items in each member's list, and so what the fusion chooses from."
    )
    max_valid_targets: int = Field(
        10_000,
        ge=100,
        description="Most targets of valid that are ranked, drawn at random: the fusion has few weights.",
    )
    max_test_targets: Annotated[int | None, AddedLater(None)] = Field(
        None, ge=100, description="Most targets of test, drawn the same way; empty: all."
    )

    def at_most(self, n_targets: int) -> "RecommendConfig":
        """The same rules for at most so many targets of valid, and of test."""
        return self.model_copy(
            update={
                "max_valid_targets": min(self.max_valid_targets, n_targets),
                "max_test_targets": min(self.max_test_targets or n_targets, n_targets),
            }
        )


def _whole_as_int(value: float) -> int | float:
    """Whole numbers of epochs as they were written when parts of one did not exist: fingerprints stay the same."""
    return int(value) if value.is_integer() else value


class SasRecConfig(Section):
    """SASRec, trained with cross-entropy over all items."""

    hidden: int = Field(128, ge=8, description="Width.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout on embeddings and on the last hidden state.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW, cosine decay to 0.")
    epochs: Annotated[float, PlainSerializer(_whole_as_int, when_used="json")] = Field(
        15, gt=0, description="Passes over the histories; a large log may do with part of one."
    )
    batch_size: int = Field(128, ge=1, description="Histories per step.")
    window: int = Field(50, ge=2, description="Longest history, in items.")
    seed: int = Field(1, ge=0, description="Seed of weights, data order and dropout.")


class LlmVariant(Section):
    """A further LLM as a member: the same pipeline with other settings; it shares all artifacts that are the same."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="The member is called `tsrec-NAME`.")
    set: tuple[str, ...] = Field(
        min_length=1, description="Settings that differ, as on the command line: `sids.seed=2`, `finetune.seed=2`."
    )


class MembersConfig(Section):
    """The members of the fusion beside the LLM; each stands in the table by itself too."""

    methods: Annotated[tuple[MemberName, ...], EACH_ONCE] = Field(
        ("popular", "transitions", "item-knn", "text-similarity", "sasrec"),
        min_length=1,
        description="Members beside the LLM.",
    )
    llms: Annotated[tuple[LlmVariant, ...], EACH_ONCE] = Field(
        (), description="Further LLMs: other SID spaces, other seeds."
    )
    refit: bool = runtime(  # another stage, not another result
        False,
        description="Also fit the members on train and valid, and show the fusion of those on test as `fused refit`: "
        "what a nightly refresh is worth.",
    )
    sasrec: SasRecConfig = Field(SasRecConfig(), description="A small transformer over item ids.")


class DecodeConfig(Section):
    """The LLM's lists, by constrained beam search."""

    beams: int = Field(50, ge=1, le=512, description="Beams per user: at most so many items does the LLM propose.")
    max_history: int = Field(20, ge=1, description="Items of history in the prompt: the last ones.")
    batch_tokens: int = runtime(
        2048, ge=1, description="Tokens decoded at once, those of prompts and beams: as many users as have so many."
    )
    shard_users: int = runtime(1024, ge=1, description="Users per shard; a killed run resumes at the next shard.")


class FuseConfig(Section):
    """The fusion of all members' lists, fitted on valid alone."""

    length: int = Field(50, ge=10, le=2000, description="Items in each fused list.")
    trees: Annotated[int, AddedLater(0)] = Field(
        300,
        ge=0,
        le=2000,
        description="Most boosted trees that order anew the first 100 that the weights say; as many are kept as help "
        "users of valid that they have not seen. 0: the weights alone.",
    )
    llm_scores: Annotated[int, AddedLater(0)] = Field(
        0,
        ge=0,
        le=2000,
        description="Proposals of the other members that the LLM scores too, and the fusion weighs; 100 take as long "
        "as 50 beams. 0: it scores its own items alone.",
    )
