"""Everything that recommends, behind one door: `Recommender.open(store, dataset).recommend(histories, k)`."""

from tsrec.recommenders.fuse import STAGE as FUSE
from tsrec.recommenders.members import MEMBER_STAGES
from tsrec.recommenders.recommender import Recommendation, Recommender
from tsrec.recommenders.refit import STAGE as REFIT
from tsrec.recommenders.soft_targets import STAGE as SOFT_TARGETS
from tsrec.recommenders.stages import CANDIDATES, DECODE

__all__ = ["CANDIDATES", "DECODE", "FUSE", "MEMBER_STAGES", "REFIT", "SOFT_TARGETS", "Recommendation", "Recommender"]
