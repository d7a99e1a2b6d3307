"""The names of all table columns that cross a stage border, so that no string is typed twice.

Tables are Parquet. `item_id` and `user_id` are strings everywhere, whatever they were in the raw data.
"""

from enum import StrEnum


class Columns:
    """Column names of the tables that stages exchange."""

    ITEM = "item_id"
    USER = "user_id"
    # items
    TITLE = "title"
    DESCRIPTION = "description"
    BRAND = "brand"
    CATEGORIES = "categories"
    TEXT = "text"
    # interactions
    TIMESTAMP = "timestamp"
    POSITION = "position"
    SPLIT = "split"
    RATING = "rating"  # raw interactions only
    ORDER = "order"  # raw interactions only
    # keywords and token semantics
    KEYWORDS = "keywords"
    SOURCE = "source"
    LEVEL = "level"
    CODE = "code"
    TOKEN = "token"
    N_ITEMS = "n_items"
    TITLES = "titles"
    # semantic IDs and vectors
    CODES = "codes"
    EMBEDDING = "embedding"
    CENTROID = "centroid"
    # recommendations and metrics
    METHOD = "method"
    RANK = "rank"
    SCORE = "score"
    ITEMS = "items"
    SCORES = "scores"
    PROPOSED_BY = "proposed_by"
    SLICE = "slice"
    METRIC = "metric"
    K = "k"
    VALUE = "value"
    CI_LOW = "ci_low"
    CI_HIGH = "ci_high"
    N = "n"
    AGAINST = "against"
    P = "p"


ALL = "all"
"""The slice of `metrics` that holds all targets."""


FUSED = "fused"
LLM = "tsrec"
"""What the fusion and the LLM are called in `metrics`, whatever they consist of."""
LLMS = "all LLMs"
"""What several LLMs are called where the fusion does without any of them."""


class Split(StrEnum):
    """What an event may be used for.

    An event with earlier events of the same user is a *target* of its split; its history is all those earlier
    events, whatever their split. `HISTORY` events are context only: never a target, never learned from.
    """

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"
    HISTORY = "history"
