"""New data without starting over: the pipeline's own plan, with the champion's artifacts as bases, and a judgement."""

from tsrec.refresh.refreshing import Outcome, Started, begin, finish, run

__all__ = ["Outcome", "Started", "begin", "finish", "run"]
