"""`POST /recommend`: lists for histories and users."""

from collections.abc import Sequence

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from tsrec.serving.catalogue_views import CatalogueViews
from tsrec.serving.live_model import LiveModel
from tsrec.serving.problems import RefusedError
from tsrec.serving.schemas import RecommendAnswer, RecommendAnswers, RecommendBody, RecommendRequest
from tsrec.serving.service import Service
from tsrec.serving.wishes import Answer, Wish


def recommend_routes(service: Service) -> APIRouter:
    """The route, asking a service."""
    routes = APIRouter(tags=["recommend"])

    @routes.post("/recommend", response_model=RecommendAnswers)
    async def recommend(body: RecommendBody) -> Response:
        """Lists for one request, or for several: `{"requests": [...]}`. All are answered by one model."""
        live = service.live()
        several = not isinstance(body, RecommendRequest)
        requests = [body] if isinstance(body, RecommendRequest) else body.requests
        for place, request in enumerate(requests):
            if request.method not in live.methods:
                field = f"requests.{place}.method" if several else "method"
                raise RefusedError(422, f"{field}: there is no such method; there are {', '.join(live.methods)}", field)
        pasts = [() if r.user_id is None else live.catalogue.item_ids[live.users.of_user(r.user_id)] for r in requests]
        wishes = [await _wish(live, *pair) for pair in zip(requests, pasts, strict=True)]
        answers = await service.engine.recommend(wishes, live)
        shown = [_shown(*each) for each in zip(requests, pasts, answers, strict=True)]
        # Written here: FastAPI would check every field once more.
        content = RecommendAnswers(model=answers[0].model, answers=shown).model_dump_json()
        return Response(content, media_type="application/json")

    return routes


async def _wish(live: LiveModel, request: RecommendRequest, past: Sequence[str]) -> Wish:
    """A request whose user has had the items `past`."""
    allow = None if request.allow is None else frozenset(request.allow)
    if request.where:
        # Beside the event loop: the first who asks reads the column.
        having = await run_in_threadpool(live.once(CatalogueViews).having, request.where, "where")
        ids = frozenset(live.catalogue.item_ids[having])
        allow = ids if allow is None else allow & ids
    return Wish(
        history=(*past, *request.history),
        k=request.k,
        method=request.method,
        allow=allow,
        deny=frozenset(request.deny),
        no_repeats=request.no_repeats,
        explain=request.explain,
    )


def _shown(request: RecommendRequest, past: Sequence[str], answer: Answer) -> RecommendAnswer:
    return RecommendAnswer.model_validate(
        {
            "items": answer.items,
            "method": answer.method,
            "unknown": answer.unknown,
            "unknown_user": request.user_id is not None and not len(past),
            "left_out": answer.left_out,
        },
        from_attributes=True,
    )
