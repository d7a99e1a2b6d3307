"""The evaluate stage: recommendations by constrained beams, and metrics of the model and every baseline."""

from tsrec.evaluate.recommend import Recommender, load_recommender
from tsrec.evaluate.stage import STAGE

__all__ = ["STAGE", "Recommender", "load_recommender"]
