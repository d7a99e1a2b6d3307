"""The explorer's page at `/`, its files below `/page/`, the API for people at `/docs`; none needs a network."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.staticfiles import StaticFiles

from tsrec.serving.problems import REFUSALS

_PAGE = Path(__file__).parent / "page"


def add_page(app: FastAPI) -> None:
    """Have an app show the page and the documentation."""
    environment = Environment(loader=PackageLoader("tsrec.serving"), autoescape=select_autoescape(default=True))

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        """The explorer."""
        return FileResponse(_PAGE / "index.html")

    # Not FastAPI's own page, which browsers load from another host.
    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        """The API, for people."""
        return HTMLResponse(environment.get_template("docs.html.j2").render(api=app.openapi(), refusals=REFUSALS))

    app.mount("/page", StaticFiles(directory=_PAGE), name="page")
