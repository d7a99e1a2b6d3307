"""`/model`, and what machines ask: `/healthz`, `/readyz`, `/metrics`."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from tsrec.report import PAGE_POLICY
from tsrec.serving.metrics import CONTENT_TYPE, Metrics
from tsrec.serving.model_figures import ModelFigures
from tsrec.serving.problems import Problem, RefusedError, problem
from tsrec.serving.schemas import Model, State
from tsrec.serving.service import Service


def model_routes(service: Service, metrics: Metrics) -> APIRouter:
    """The routes, asking a service."""
    routes = APIRouter()

    @routes.get("/model", response_model=Model, tags=["model"])
    def model() -> object:
        """The model that answers: its methods and figures, how it became the champion, how far its data have moved."""
        return service.live().once(ModelFigures).all()

    @routes.get("/report", response_class=HTMLResponse, tags=["model"])
    def report() -> HTMLResponse:
        """The report of the run that made the model."""
        page = service.live().once(ModelFigures).report()
        if page is None:
            raise RefusedError(404, "the store has no report of this model")
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})

    @routes.head("/healthz", include_in_schema=False)  # as some load balancers ask
    @routes.get("/healthz", response_class=PlainTextResponse, tags=["operation"])
    async def health() -> str:
        """Whether the process lives."""
        return "alive\n"

    @routes.head("/readyz", include_in_schema=False)
    @routes.get("/readyz", response_model=State, responses={503: {"model": Problem}}, tags=["operation"])
    async def ready() -> object:
        """Whether a model is open, which one, and what keeps a newer one from being opened."""
        state = service.state()
        if state["ready"]:
            return state
        return problem(503, str(state["problem"]), **state)

    @routes.get("/metrics", response_class=PlainTextResponse, tags=["operation"])
    def numbers() -> Response:
        """What was counted since the server began, in the format of Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return routes
