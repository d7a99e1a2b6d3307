"""What the backbone and finetune stages read: the LLM, the mix of SFT tasks, and the training recipe."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tsrec.config.base import MODEL, AddedLater, InForce, OnDevice, Section, runtime


class BackboneConfig(Section):
    """The pretrained causal LM."""

    model: Annotated[str, MODEL] = Field(
        "smollm2-135m-instruct",
        min_length=1,
        description="`smollm2-135m-instruct` from its PyPI wheel, or a model folder or name of the hub. It may be "
        "the folder `model` of another data set's finetune artifact: its SID tokens are left out (transfer).",
    )
    n_layers: int | None = Field(6, ge=1, description="Keep only the first N layers; empty: all.")


_NEVER = AddedLater(0.0)


class TaskWeights(Section):
    """How often an epoch sees each SFT task's examples: 1 = each once, 0.25 = another quarter each time, 0: never."""

    history: float = Field(1.0, ge=0, description="Packed histories of SIDs, a loss on every item after the first.")
    title_to_sid: float = Field(0.0, ge=0, description="An item's title -> its SID.")
    sid_to_title: float = Field(0.0, ge=0, description="An item's SID -> its title.")
    history_to_title: float = Field(0.0, ge=0, description="History of SIDs -> the next item's title.")
    token_to_meaning: float = Field(0.0, ge=0, description="TS-Align: one SID token -> its cluster's description.")
    meaning_to_token: float = Field(0.0, ge=0, description="TS-Align: a cluster's description -> its SID token.")
    token_to_keywords: Annotated[float, _NEVER] = Field(
        0.0, ge=0, description="TS-Align: one SID token -> its cluster's keywords."
    )
    keywords_to_token: Annotated[float, _NEVER] = Field(
        0.0, ge=0, description="TS-Align: a cluster's keywords -> its SID token."
    )

    def with_text(self) -> bool:
        """Whether any task holds words."""
        return any(weight for name, weight in self if name != "history")

    def with_meanings(self) -> bool:
        """Whether any task holds what a SID token means, in words."""
        words = (self.token_to_meaning, self.meaning_to_token, self.token_to_keywords, self.keywords_to_token)
        return any(words)


class LoraConfig(Section):
    """PEFT LoRA; the SID rows stay fully trainable beside it."""

    rank: int = Field(16, ge=1, description="Rank of the adapters.")


class DistillConfig(Section):
    """Distilling the fusion into the LLM: some targets are drawn from what the other members hold likely instead."""

    share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the train targets that are drawn, anew in every epoch, from the fusion of the members "
        "that are not LLMs; 0: only what users did is learned.",
    )


class FinetuneConfig(Section):
    """Supervised fine-tuning."""

    epochs: float = Field(6, gt=0, description="Passes over the task mix.")
    batch_size: int = Field(32, ge=1, description="Examples per optimizer step.")
    learning_rate: float = Field(5e-4, gt=0, description="Peak learning rate of AdamW, cosine decay to 0.")
    tasks: TaskWeights = Field(TaskWeights(), description="Mixing weights of the SFT tasks.")
    distill: Annotated[DistillConfig, InForce(lambda finetune: finetune.distill.share > 0)] = Field(
        DistillConfig(), description="The fusion of the other members as a teacher of the LLM."
    )
    method: Literal["full", "lora", "sid-rows"] = Field(
        "full", description="What is trained: every layer, LoRA adapters, or the SID rows alone (LLM frozen)."
    )
    lora: Annotated[LoraConfig, InForce(lambda finetune: finetune.method == "lora")] = Field(
        LoraConfig(), description="Used when method is lora."
    )
    train_text_rows: bool = Field(
        False, description="Also train the pretrained vocabulary rows (the released TS-Rec does)."
    )
    window_items: int = Field(20, ge=2, description="Longest training window of a history, in items.")
    window_overlap: int = Field(8, ge=0, description="Items a window repeats from the one before, without loss.")
    label_smoothing: Annotated[float, AddedLater(0.0)] = Field(
        0.0, ge=0, lt=1, description="Share of each SID label that is spread evenly over the tokens of its level."
    )
    sid_learning_rate: float | None = Field(None, gt=0, description="Its own rate for the SID rows; empty: the same.")
    warmup_steps: int = Field(50, ge=0, description="Linear warm-up.")
    weight_decay: float = Field(0.1, ge=0, description="AdamW weight decay.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout on input embeddings and on the last hidden state.")
    evals_per_epoch: int = Field(2, ge=1, description="Loss on valid, and a checkpoint, this often.")
    max_valid_histories: int = Field(
        2000, ge=1, description="Histories behind the loss on valid, drawn at random; more cost time and tell little."
    )
    patience: int | None = Field(
        3,
        ge=1,
        description="Early stopping after this many evaluations without a lower loss on valid, and the best weights "
        "are kept; empty: train to the end and keep the last ones.",
    )
    gradient_checkpointing: bool = runtime(
        False, description="Trade time for memory; rl, which computes without dropout, has none."
    )
    processes: int = runtime(
        1,
        ge=1,
        le=64,
        description="Processes that share every batch: as many as there are GPUs, one each. On a processor they share "
        "its threads. rl trains in one.",
    )
    seed: int = Field(1, ge=0, description="Seed of random SID rows (sa_init), data order and dropout.")

    def without_regularization(self, **changes: Any) -> Self:
        """The same settings with `changes`, without regularization, distillation or early stopping."""
        neutral = {
            "distill": DistillConfig(),
            "label_smoothing": 0.0,
            "dropout": 0.0,
            "weight_decay": 0.0,
            "sid_learning_rate": None,
            "patience": None,
        }
        return self.model_copy(update=neutral | changes)

    @model_validator(mode="after")
    def _histories_are_there_to_change(self) -> "FinetuneConfig":
        if self.distill.share and not self.tasks.history:
            raise ValueError(
                f"distill.share = {self.distill.share:g} changes histories, and tasks.history = 0 trains on none; "
                "raise tasks.history, or set distill.share to 0"
            )
        return self

    @model_validator(mode="after")
    def _processes_have_examples(self) -> "FinetuneConfig":
        if self.processes > self.batch_size:
            raise ValueError(
                f"processes ({self.processes}) must be at most batch_size ({self.batch_size}): they share its examples"
            )
        return self

    @model_validator(mode="after")
    def _windows_advance(self) -> "FinetuneConfig":
        if self.window_overlap >= self.window_items:
            raise ValueError(
                f"window_overlap ({self.window_overlap}) must be less than window_items ({self.window_items})"
            )
        return self


class FinetuneSettings(FinetuneConfig, OnDevice):
    """What the finetune stage reads: its own section, and what the run computes on."""
