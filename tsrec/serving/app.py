"""The HTTP app of the live server: FastAPI over an engine, and what stands in front of it.

    uvicorn.run(create_app("artifacts", "ml-100k"))

In an app of your own, hand its lifespan on and mount it:

    live = create_app("artifacts", "ml-100k", listens_on=None)
    shop = FastAPI(lifespan=live.router.lifespan_context)
    shop.mount("/recommender", live)
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from tsrec import __version__
from tsrec.machine.request_checks import with_bounded_bodies, with_known_hosts
from tsrec.serving.access import (
    BODY_S,
    KEYS,
    MAX_BODY_BYTES,
    MAX_IN_FLIGHT,
    with_bounded_load,
    with_headers,
    with_keys,
    with_timely_bodies,
)
from tsrec.serving.engine import Engine
from tsrec.serving.item_routes import item_routes
from tsrec.serving.live_model import LiveModel
from tsrec.serving.metrics import Metrics, with_metrics
from tsrec.serving.model_routes import model_routes
from tsrec.serving.page_routes import add_page
from tsrec.serving.problems import MEDIA_TYPE, REFUSALS, Problem, add_problems, plain_problem
from tsrec.serving.recommend_routes import recommend_routes
from tsrec.serving.service import Service
from tsrec.serving.token_routes import token_routes
from tsrec.store import ArtifactStore

DEADLINE_MS = 150
_ABOUT = "Recommendations by the champion of a data set, and why it recommends them."
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words, "content": {MEDIA_TYPE: {}}} for status, words in REFUSALS.items()
}


def create_app(
    store: ArtifactStore | str | Path,
    dataset: str,
    *,
    model: str | None = None,
    deadline_ms: int = DEADLINE_MS,
    keys: Collection[str] = (),
    listens_on: str | None = "127.0.0.1",
    when_open: Callable[[LiveModel], None] | None = None,
) -> FastAPI:
    """The live server of a data set's champion, as an ASGI app. The model is opened when the app starts.

    Args:
        store: the artifact store, or where it is; nothing in it is written.
        dataset: name of the data set.
        model: a model other than the champion, by the first digits of its fingerprint; it is not followed.
        deadline_ms: how long a list may take; a member that would take longer is left out of it.
        keys: whoever asks brings one of them; none: nobody is asked for one.
        listens_on: the name or address that the server listens on. Without keys, requests that call it otherwise are
            refused, as are pages of other sites. None: what is in front of the app sees to that.
        when_open: called with the first model, once it is open.
    """
    metrics = Metrics()
    service = Service(Engine(store, dataset, model=model, deadline_ms=deadline_ms, observe=metrics.observe), when_open)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title=f"tsrec: {dataset}",
        description=_ABOUT,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=_REFUSALS,
    )
    app.state.service = service
    for made in (recommend_routes, item_routes, token_routes):
        app.include_router(made(service))
    app.include_router(model_routes(service, metrics))
    add_page(app)
    add_problems(app)
    # The last one added sees a request first: nothing is read of one that is refused.
    app.add_middleware(with_bounded_bodies, most_bytes=MAX_BODY_BYTES, refuse=plain_problem)
    app.add_middleware(with_timely_bodies, most_s=BODY_S)
    app.add_middleware(with_bounded_load, most=MAX_IN_FLIGHT, retry_after_s=service.engine.retry_after_s)
    if keys:
        app.add_middleware(with_keys, keys=tuple(keys))
    elif listens_on is not None:
        remedy = f"set {KEYS}=KEY"
        app.add_middleware(with_known_hosts, listens_on=listens_on, remedy=remedy, refuse=plain_problem)
    app.add_middleware(with_headers)
    app.add_middleware(with_metrics, metrics=metrics)
    return app
