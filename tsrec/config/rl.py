"""What the rl stage reads: reinforcement learning after fine-tuning, on the LLM's own lists."""

from pydantic import Field

from tsrec.config.base import Section
from tsrec.config.finetune import FinetuneSettings, TaskWeights

_REPORTS = 20  # times that a run logs its reward, and leaves a checkpoint


class RlConfig(Section):
    """GRPO (2402.03300) on constrained beams, with MiniOneRec's reward (2510.24431)."""

    epochs: float = Field(
        0,
        ge=0,
        description="Passes over the train targets; 0: the LLM stays as fine-tuning leaves it. A pass costs about ten "
        "times one of fine-tuning: every target is a prompt of its own, listed and scored.",
    )
    beams: int = Field(16, ge=2, le=512, description="Rollouts of each target: the LLM's best SIDs, in its order.")
    learning_rate: float = Field(
        1e-5, gt=0, description="Peak learning rate of AdamW, cosine decay to 0; far below fine-tuning's."
    )


class RlSettings(Section):
    """What the rl stage reads: its own section, and how fine-tuning trains. Two constants stand in its fingerprint."""

    own: RlConfig
    finetune: FinetuneSettings
    batch_size: int = 32  # targets of an optimizer step
    kl: float = 1e-3  # weight of the divergence from the fine-tuned LLM

    def recipe(self) -> FinetuneSettings:
        """The same as a training: of histories alone, to its end, without any noise; all else as in fine-tuning."""
        own = self.own
        return self.finetune.without_regularization(
            epochs=own.epochs,
            tasks=TaskWeights(),
            batch_size=self.batch_size,
            learning_rate=own.learning_rate,
            evals_per_epoch=max(1, round(_REPORTS / own.epochs)),
        )
