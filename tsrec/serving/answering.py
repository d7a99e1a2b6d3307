"""Lists from what is there: the cheap members are asked, the LLMs' lists are given or left out, the gate orders all."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tsrec.columns import FUSED, LLM
from tsrec.recommenders.pool import SCORES
from tsrec.recommenders.ranking import Ranked, empty_lists
from tsrec.recommenders.recommender import Recommendation
from tsrec.serving.asked import Asked, filter_of
from tsrec.serving.llm_lists import Decoded
from tsrec.serving.wishes import Answer, ListedItem


@dataclass(frozen=True, eq=False)
class Request:
    """A wish that is ready to be answered: `given` is what all LLMs that its method asks say, by name; of those that
    had no time it is None."""

    asked: Asked
    given: Mapping[str, Decoded | None]

    @property
    def left_out(self) -> tuple[str, ...]:
        """The LLMs that had no time; and the scores of proposals, where the LLM had no time for all of them."""
        late = [name for name, decoded in self.given.items() if decoded is None]
        n_wanted = self.asked.live.fusion.n_scored if self.asked.wish.method == FUSED else 0
        if (llm := self.given.get(LLM)) and llm.n_scored < n_wanted:
            late.append(SCORES)
        return tuple(late)

    @property
    def method(self) -> str:
        """What answers: the method that was asked for, or the others of the fusion where it had no time."""
        return FUSED if self.asked.wish.method in self.left_out else self.asked.wish.method


def answer_all(requests: Sequence[Request]) -> list[Answer]:
    """The answers, in order; requests that share model, method and what is allowed are ranked together."""
    alike: dict[tuple[int, str, bytes], list[int]] = defaultdict(list)
    for place, request in enumerate(requests):
        alike[id(request.asked.live), request.method, request.asked.allowed_mark].append(place)
    answers: dict[int, Answer] = {}
    for (_, method, _), places in alike.items():
        some = [requests[place] for place in places]
        answers |= dict(zip(places, map(_answer, some, _ranked(some, method)), strict=True))
    return [answers[place] for place in range(len(requests))]


def _ranked(some: list[Request], method: str) -> list[list[Recommendation]]:
    asked = [request.asked for request in some]
    live, k = asked[0].live, max(one.wish.k for one in asked)
    names = live.llms if method == FUSED else (method,) if method in live.llms else ()
    width = live.fusion.n_candidates if method == FUSED else k
    decoded = {name: [request.given.get(name) for request in some] for name in names}
    given = {name: _joined([one.ranked if one else None for one in of_one], width) for name, of_one in decoded.items()}
    if method == FUSED and live.fusion.gate.scored:
        scores = [one.scores if one else None for one in decoded[LLM]]
        given[SCORES] = _joined(scores, width + live.fusion.n_scored)
    return live.recommender(method).rank([one.past for one in asked], k, filter_of(asked), given)


def _joined(lists: Sequence[Ranked | None], width: int) -> Ranked:
    """Lists of one row each as those of all; empty where there is none."""
    joined = empty_lists(len(lists), width)
    for row, ranked in enumerate(lists):
        if ranked is not None:
            n = min(width, ranked.items.shape[1])
            joined.items[row, :n], joined.scores[row, :n] = ranked.items[0, :n], ranked.scores[0, :n]
    return joined


def _answer(request: Request, found: list[Recommendation]) -> Answer:
    asked, wish = request.asked, request.asked.wish
    live = asked.live
    items = tuple(_listed(asked, rank, item) for rank, item in enumerate(found[: wish.k], start=1))
    unknown = tuple(live.recommender(FUSED).unknown(wish.history))
    return Answer(items, live.fingerprint, request.method, unknown, request.left_out)


def _listed(asked: Asked, rank: int, item: Recommendation) -> ListedItem:
    explainer, reason = asked.live.explainer, None
    if asked.wish.explain:
        reason = explainer.reason(item.item_id, asked.wish.history, filled=item.score is None)
    return ListedItem(item.item_id, explainer.title(item.item_id), rank, item.score, item.proposed_by, reason)
