"""The Trainer's recipe for a `SidModel`, from the settings of both stages that train it."""

from typing import Any

from tsrec.config import FinetuneSettings
from tsrec.training.trainer import Recipe


def recipe_of(config: FinetuneSettings, section: str, **more: Any) -> Recipe:
    """The Trainer's recipe for a `SidModel`, from the settings.

    Args:
        config: how to train.
        section: the section of the configuration that sets the rates, for messages.
        more: fields of the recipe that are no settings.
    """
    rates = f"{section}.learning_rate ({config.learning_rate:g})"
    if section == "finetune":
        rates += f" and finetune.sid_learning_rate ({config.sid_learning_rate or config.learning_rate:g})"
    return Recipe(
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=1.0,
        evals_per_epoch=config.evals_per_epoch,
        patience=config.patience,
        precision=config.precision,
        device=config.device,
        seed=config.seed,
        own_rates={"sid_rows": config.sid_learning_rate} if config.sid_learning_rate else {},
        advice=f"lower {rates}, raise finetune.warmup_steps ({config.warmup_steps}), or set precision to float32",
        **more,
    )
