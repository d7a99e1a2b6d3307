"""The finetune stage: teach the LLM histories of SIDs, and (TS-Align) what each single SID token stands for."""

from tsrec.finetune.rl import RL
from tsrec.finetune.stage import STAGE

__all__ = ["RL", "STAGE"]
