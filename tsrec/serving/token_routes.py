"""`/tokens`: what the tokens of semantic IDs mean."""

from typing import Annotated

from fastapi import APIRouter, Query

from tsrec.errors import DataError
from tsrec.serving.problems import RefusedError
from tsrec.serving.schemas import FoundTokens, Token, Tokens
from tsrec.serving.service import Service

_N_TITLES = 10


def token_routes(service: Service) -> APIRouter:
    """The routes, asking a service."""
    routes = APIRouter(tags=["tokens"])

    @routes.get("/tokens", response_model=Tokens | FoundTokens)
    def tokens(
        query: Annotated[
            str | None, Query(max_length=1_000, description="A token, an item id, or words of keywords.")
        ] = None,
    ) -> object:
        """All tokens, level by level; with `query` those that it names: the tokens of an item, or of some keywords."""
        views = service.views()
        if query is None:
            return {"levels": views.tokens.levels()}
        item = views.number(query.strip())
        return {"tokens": views.tokens.of_item(item) if item is not None else views.tokens.search(query)}

    @routes.get("/tokens/{token}", response_model=Token)
    def token(
        token: str,
        under: Annotated[
            str, Query(max_length=1_000, description="Tokens of other levels, with commas: `<a_1>,<b_2>`.")
        ] = "",
    ) -> object:
        """A token: what it means, its most popular items, and the tokens of the next level among its items."""
        views = service.views()
        above = [part for part in under.split(",") if part.strip()]
        try:
            found = views.tokens.token(token, above, views.popularity, _N_TITLES)
        except DataError as error:
            raise RefusedError(422, str(error), "under" if above else "token") from None
        except KeyError as error:
            raise RefusedError(404, f"no SID of this model can have the token {error.args[0]}", "token") from None
        return found | {"commonest": views.titled(found["commonest"])}

    return routes
