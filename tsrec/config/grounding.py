"""What the grounding stage reads: new rows trained alone, on paired text, before fine-tuning."""

from pydantic import Field

from tsrec.config.finetune import FinetuneConfig, TaskWeights
from tsrec.config.section import Section


class GroundingTasks(TaskWeights):
    """How often an epoch sees each task's examples: here, pairs of text and SIDs."""

    history: float = Field(0.0, ge=0, description="Packed histories of SIDs.")
    title_to_sid: float = Field(1.0, ge=0, description="An item's title -> its SID.")
    sid_to_title: float = Field(1.0, ge=0, description="An item's SID -> its title.")
    token_to_meaning: float = Field(1.0, ge=0, description="One SID token -> its cluster's description.")
    meaning_to_token: float = Field(1.0, ge=0, description="A cluster's description -> its SID token.")


class GroundingConfig(Section):
    """Token grounding (GTI, arXiv 2604.02324): the SID rows learn from texts, the LLM frozen, before fine-tuning."""

    epochs: float = Field(
        0,
        ge=0,
        description="Passes over the pairs of text and SIDs; 0: rows go into fine-tuning as sa_init makes them.",
    )
    tasks: GroundingTasks = Field(GroundingTasks(), description="What the rows are trained on; see finetune.tasks.")
    batch_size: int = Field(32, ge=1, description="Examples per optimizer step.")
    learning_rate: float = Field(5e-3, gt=0, description="Peak learning rate of AdamW, cosine decay to 0.")

    def recipe(self, finetune: FinetuneConfig) -> FinetuneConfig:
        """The same as a training: of the SID rows alone, to its end; all else as in fine-tuning."""
        return finetune.plainly(
            epochs=self.epochs,
            tasks=self.tasks,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            method="sid-rows",
            train_text_rows=False,
            schedule="mixed",
            evals_per_epoch=1,
        )
