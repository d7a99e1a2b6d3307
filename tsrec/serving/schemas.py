"""What the server takes and gives, field by field; the API's documentation is made of this."""

import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from tsrec.columns import FUSED
from tsrec.store import FlowRun

MAX_K = 1_000
"""Items in one list."""
MAX_REQUESTS = 100
"""In one body."""

_HALF = re.compile("[\ud800-\udfff]")
_MOST_FIELDS = 20  # of one object: each that is unknown is a line of the refusal
ItemIds = Annotated[list[str], Field(fail_fast=True)]


class _Asked(BaseModel):
    # A field that is spelled wrong is refused, not ignored. Ids may be written as numbers.
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(given) > _MOST_FIELDS:
            raise ValueError(f"has {len(given):,} fields; an object here has at most {_MOST_FIELDS}")
        return given

    @model_validator(mode="after")
    def _holds_whole_characters(self) -> Self:
        for name, value in self:
            texts = value if isinstance(value, list) else [value]
            text = "".join(part for part in texts if isinstance(part, str))
            if not text.isascii() and _HALF.search(text):
                raise ValueError(f"{name} holds half a character (a lone surrogate), which no text has")
        return self


class RecommendRequest(_Asked):
    """One list to be made."""

    history: ItemIds = Field([], description="Item ids, oldest first. Unknown ones are skipped and named.")
    user_id: str | None = Field(None, description="Their events as ingested stand before `history`.")
    k: int = Field(10, ge=1, le=MAX_K, description="Items in the list.")
    method: str = Field(FUSED, description="`fused`, or one member; `GET /model` lists them.")
    allow: ItemIds | None = Field(None, description="Nothing else is recommended. null: all may be.")
    deny: ItemIds = Field([], description="None of these is recommended.")
    where: dict[str, str] = Field(
        {}, max_length=20, description='Only items with these values in these columns: `{"categories": "Comedy"}`.'
    )
    no_repeats: bool | None = Field(None, description="Leave out the history's items. null: the model's own rule.")
    explain: bool = Field(False, description="Give a reason in words for each item.")


class RecommendRequests(_Asked):
    """Several lists to be made."""

    requests: list[RecommendRequest] = Field(min_length=1, max_length=MAX_REQUESTS)


def _kind(body: Any) -> str:
    return "many" if isinstance(body, dict) and "requests" in body else "one"


RecommendBody = Annotated[
    Annotated[RecommendRequest, Tag("one")] | Annotated[RecommendRequests, Tag("many")], Discriminator(_kind)
]


class RecommendedItem(BaseModel):
    """One item of a list."""

    item_id: str
    title: str
    rank: int = Field(description="1 is the best.")
    score: float | None = Field(description="The method's own; null where popular items fill the list.")
    proposed_by: list[str] = Field(description="The members that proposed it, the surest first.")
    reason: str | None = Field(description="Why, in words; null unless asked for with `explain`.")


class RecommendAnswer(BaseModel):
    """One list."""

    items: list[RecommendedItem]
    method: str
    unknown: list[str] = Field(description="Ids of the history that the catalogue lacks.")
    unknown_user: bool = Field(description="Whether `user_id` has no events; the list is then of `history` alone.")
    left_out: list[str] = Field(description="Members that had no time before the deadline.")


class RecommendAnswers(BaseModel):
    """The lists, in the order of the requests, all by one model."""

    model: str = Field(description="Fingerprint of the model that answered.")
    answers: list[RecommendAnswer]


class Titled(BaseModel):
    """An item by name."""

    item_id: str
    title: str


class ScoredItem(Titled):
    """An item with a number: a similarity, or a count."""

    score: float


class FoundItem(Titled):
    """An item with the other columns of the items table."""

    columns: dict[str, Any]


class FoundItems(BaseModel):
    """A page of a search."""

    total: int
    items: list[FoundItem]


class ColumnValue(BaseModel):
    """A value that several items have in a column."""

    value: str
    n_items: int


class Column(BaseModel):
    """A column of the items table, with its commonest values."""

    column: str
    n_values: int
    values: list[ColumnValue]


class Columns(BaseModel):
    """The columns by which lists and searches can be narrowed."""

    columns: list[Column]


class TokenInWords(BaseModel):
    """What a token of SIDs means."""

    token: str
    n_items: int = Field(description="How many items have it.")
    keywords: list[str] = Field(description="Of those items, the most telling first.")
    description: str


class Item(FoundItem):
    """All that is known of an item."""

    text: str = Field(description="What the text encoder and the teacher read.")
    sid: list[str] = Field(description="Its semantic ID, one token a level.")
    tokens: list[TokenInWords] = Field(description="The same tokens in words.")


class SimilarItems(BaseModel):
    """Items like another one, the most alike first."""

    by: str
    items: list[ScoredItem]


class PopularItems(BaseModel):
    """The most popular items; the score is how many events each has."""

    items: list[ScoredItem]


class TokenCount(BaseModel):
    """A token in brief."""

    token: str
    n_items: int
    keywords: list[str]


class TokenLevel(BaseModel):
    """The tokens of one level that items have, those with most items first."""

    level: int = Field(description="Counted from 1.")
    tokens: list[TokenCount]


class Tokens(BaseModel):
    """All tokens, level by level."""

    levels: list[TokenLevel]


class FoundToken(TokenInWords):
    """A token that a search found."""

    level: int = Field(description="Counted from 1.")


class FoundTokens(BaseModel):
    """The tokens that a search found, those with most items first."""

    tokens: list[FoundToken]


class Token(FoundToken):
    """A token, its most popular items, and the tokens of the next level below it."""

    commonest: list[Titled]
    children: list[TokenCount]


class User(BaseModel):
    """A user's events as ingested, oldest first."""

    user_id: str
    history: list[str]
    items: list[Titled] = Field(description="The same, with titles.")


class FoundUser(BaseModel):
    """A user and how many events they have."""

    user_id: str
    n_events: int


class FoundUsers(BaseModel):
    """Users in the order of their ids."""

    users: list[FoundUser]


class Model(BaseModel):
    """The model that answers."""

    fingerprint: str
    dataset: str
    created: str
    methods: list[str]
    n_items: int
    n_users: int
    metrics: list[dict[str, Any]] = Field(description="Of all targets, with intervals over users.")
    worth: list[dict[str, Any]] = Field(description="What each member adds to the fusion, where it was measured.")
    headline: str | None = Field(description="What the LLM adds, in a sentence.")
    moves: list[dict[str, Any]] = Field(description="How the champion changed, oldest first.")
    drift: dict[str, float | None] = Field(
        description="How far its data have moved from those of the model that it was refreshed from; of a model that "
        "was not, its newest events from its own train events."
    )
    rebuild: list[str] = Field(description="Why a rebuild is due; empty: it is not.")
    settings: dict[str, Any] = Field(description="Of the fusion.")
    report: bool = Field(description="Whether `GET /report` has the report of its run.")
    flow_run: FlowRun | None = Field(description="The Prefect run that made it, as far as the store knows.")


class State(BaseModel):
    """Whether the server can answer."""

    model_config = ConfigDict(extra="allow")

    ready: bool
    model: str | None = Field(description="Fingerprint of the model that answers.")
    problem: str | None = Field(description="Why a newer champion, or any, is not open.")


class NewItem(_Asked):
    """An item that the catalogue lacks."""

    title: str = Field("", max_length=2_000)
    text: str = Field("", max_length=20_000)


class LikelyUser(BaseModel):
    """A user to whom a new item would be shown."""

    user_id: str
    rank: int = Field(description="Of the item in the user's list by text, without items that the user has.")
    score: float = Field(description="Weighted mean of the cosines with the user's last items.")


class NewItemPlace(BaseModel):
    """Where a new item would stand."""

    sid: list[str] = Field(description="The SID that it would get.")
    tokens: list[TokenInWords]
    nearest: list[ScoredItem] = Field(description="The items whose texts are most alike; the score is the cosine.")
    for_users: list[LikelyUser] = Field(description="By text alone: no event of the item is known.")
