"""`/items`, `/popular` and `/users`: the catalogue, what is like an item, and what users have."""

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query

from tsrec.serving.problems import RefusedError
from tsrec.serving.schemas import (
    MAX_K,
    Columns,
    FoundItems,
    FoundUsers,
    Item,
    NewItem,
    NewItemPlace,
    PopularItems,
    SimilarItems,
    User,
)
from tsrec.serving.service import Service

_K = Annotated[int, Query(ge=1, le=MAX_K, description="How many items.")]


def item_routes(service: Service) -> APIRouter:
    """The routes, asking a service."""
    routes = APIRouter(tags=["catalogue"])

    @routes.get("/items", response_model=FoundItems)
    def items(
        query: Annotated[str, Query(max_length=1_000, description="Words of the title; empty: all items.")] = "",
        limit: Annotated[int, Query(ge=0, le=MAX_K)] = 20,
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
        column: Annotated[str | None, Query(max_length=1_000, description="Only items with `value` in it.")] = None,
        value: Annotated[str, Query(max_length=1_000)] = "",
    ) -> object:
        """Items whose titles have all these words, the last one perhaps unfinished; the best matches first, then the
        most popular."""
        views = service.views()
        found = views.search.find(query)
        having = views.having({} if column is None else {column: value}, "column")
        if having is not None:
            found = found[np.isin(found, having)]
        return {"total": len(found), "items": views.found(found[offset : offset + limit].tolist())}

    # Ids may hold slashes: what ends in /similar is matched first.
    @routes.get("/items/{item_id:path}/similar", response_model=SimilarItems)
    def similar(item_id: str, by: Literal["text", "together", "sid"] = "text", k: _K = 10) -> object:
        """Items like one: by their texts, by who has both, or by the SID tokens that they share."""
        views = service.views()
        ask = {"text": views.alike, "together": views.bought_together, "sid": views.sharing}[by]
        found = ask(_known(views.number(item_id)), k)
        if found is None:
            raise RefusedError(422, f"by: nothing in this model knows what is alike by {by}", "by")
        return {"by": by, "items": found}

    @routes.get("/items/{item_id:path}", response_model=Item)
    def item(item_id: str) -> object:
        """An item, its semantic ID, and what the tokens of that mean."""
        views = service.views()
        return views.item(_known(views.number(item_id)))

    @routes.get("/columns", response_model=Columns)
    def columns() -> object:
        """The columns by which lists (`where`) and searches can be narrowed, with their commonest values."""
        return {"columns": service.views().columns.choices}

    @routes.get("/popular", response_model=PopularItems)
    def popular(k: _K = 10) -> object:
        """The items with the most events."""
        return {"items": service.views().popular(k)}

    @routes.get("/users", response_model=FoundUsers)
    def users(
        query: Annotated[str, Query(max_length=1_000, description="The beginning of an id; empty: all.")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_K)] = 20,
    ) -> object:
        """Users whose ids begin so."""
        found = service.live().users.beginning(query, limit)
        return {"users": [{"user_id": user_id, "n_events": n_events} for user_id, n_events in found]}

    @routes.get("/users/{user_id:path}", response_model=User)
    def user(user_id: str) -> object:
        """A user's events as ingested."""
        views = service.views()
        items = views.live.users.of_user(user_id)
        if not len(items):
            raise RefusedError(404, "no user of this id has any event", "user_id")
        titled = views.titled(items)
        return {"user_id": user_id, "history": [item["item_id"] for item in titled], "items": titled}

    @routes.post("/new-item", response_model=NewItemPlace)
    def new_item(item: NewItem) -> object:
        """The SID that a new item would get, the items nearest to it, and users to whom it would be shown. Nothing is
        kept of it."""
        live = service.live()
        from tsrec.serving.new_item import NewItems  # the text encoder's library: other routes do without

        return live.once(NewItems).place(item.title, item.text)

    return routes


def _known(number: int | None) -> int:
    if number is None:
        raise RefusedError(404, "the catalogue has no item of this id; GET /items?query=WORDS finds ids", "item_id")
    return number
