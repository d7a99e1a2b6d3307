"""Refusals as problem details (RFC 9457): what was wrong, in which field, in plain words."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tsrec.errors import ArtifactError, DataError
from tsrec.serving.wishes import BusyError

MEDIA_TYPE = "application/problem+json"
REFUSALS = {
    401: "A key is wanted.",
    404: "There is no such item, token or user.",
    408: "The body did not arrive in time.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    422: "A field was refused; the answer names it.",
    501: "The model lacks what this needs.",
    503: "Too many requests wait, or no model is open yet; `Retry-After` says when to ask again.",
}
"""What a refusal's status means."""
_MOST_ERRORS = 20  # in one answer: a body may hold millions
_IN_BODY = ("body", "query", "path", "header")
_KINDS = ("one", "many")  # tags of `schemas.RecommendBody`
_OWN_WORDS = {"missing": "is missing", "extra_forbidden": "is not known here", "json_invalid": "is not JSON"}


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="Its path, e.g. `requests.0.k`.")
    problem: str


class Problem(BaseModel):
    """A refusal, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What was wrong, and what to do.")
    errors: list[FieldProblem] = Field(default=[], description="The fields that were refused.")


class RefusedError(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self, status: int, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field, self.headers = status, detail, field, headers


def problem(
    status: int,
    detail: str,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """The answer that says so; `errors` are fields and what is wrong with each, `more` further members."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    if errors:
        content["errors"] = [{"field": field, "problem": words} for field, words in errors]
    # In ASCII: what is quoted may hold halves of characters, which UTF-8 cannot write.
    return Response(json.dumps(content), status, headers, media_type=MEDIA_TYPE)


def plain_problem(status: int, why: str) -> Response:
    """The same for middlewares, which know no field."""
    return problem(status, why)


def add_problems(app: FastAPI) -> None:
    """Have every refusal and error of an app answered with a problem."""

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and kind != "application/json":
            return problem(415, "send the body as JSON, with the header Content-Type: application/json")
        all_of_them = error.errors()
        errors = [(_field(each), _words(each)) for each in all_of_them[:_MOST_ERRORS]]
        more = f", and {len(all_of_them) - 1} more" if len(all_of_them) > 1 else ""
        return problem(422, f"{errors[0][0]}: {errors[0][1]}{more}", errors)

    @app.exception_handler(RefusedError)
    async def _refused(_: Request, error: RefusedError) -> Response:
        errors = [(error.field, error.detail)] if error.field else ()
        return problem(error.status, error.detail, errors, error.headers)

    @app.exception_handler(BusyError)
    async def _busy(_: Request, error: BusyError) -> Response:
        return problem(503, str(error), headers={"Retry-After": str(error.retry_after_s)})

    @app.exception_handler(DataError)
    async def _wrong(_: Request, error: DataError) -> Response:
        return problem(422, str(error))

    @app.exception_handler(ArtifactError)
    async def _gone(_: Request, error: ArtifactError) -> Response:
        return problem(503, str(error), headers={"Retry-After": "5"})

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = {
            400: "the body cannot be read as JSON",
            404: f"there is no {request.url.path}; /docs lists what there is",
            405: f"{request.url.path} is not asked by {request.method}; /docs says how",
        }.get(error.status_code, str(error.detail))
        return problem(error.status_code, detail, headers=error.headers)

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> Response:
        return problem(500, "an error of the server; its log has the traceback")


def _field(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return "body"  # the place is a number of characters
    parts = [str(part) for part in error["loc"] if part not in _KINDS]
    inner = parts[1:] if parts and parts[0] in _IN_BODY else parts
    return ".".join(inner) or "body"


def _words(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return _OWN_WORDS.get(error["type"], message[:1].lower() + message[1:])
