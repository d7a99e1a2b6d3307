"""What the ingest stage reads: where the raw files are and how they become items and interactions."""

from typing import Literal

from pydantic import Field

from tsrec.config.section import Section, runtime


class IngestConfig(Section):
    """Raw files, cleaning, filtering and splitting."""

    source: Literal["movielens-100k", "amazon", "recbole", "tables"] = Field(
        "movielens-100k",
        description="Format of the raw data: MovieLens-100K from its PyPI wheel, Amazon reviews (2014, 2018, 2023 "
        "JSON lines), RecBole atomic files, or any CSV/JSONL/Parquet tables.",
    )
    path: str | None = runtime(  # the hashes of its files, not its place, are fingerprinted
        None, description="Folder that holds the raw files (not needed for movielens-100k)."
    )
    items_file: str | None = Field(
        None, description="File of items within `path`; by default the only one that fits the source."
    )
    interactions_file: str | None = Field(
        None, description="File of interactions within `path`; by default the only one that fits the source."
    )
    item_columns: dict[str, str] = Field(
        default_factory=dict,
        description="For tables: our column name -> theirs, e.g. {item_id: sku, title: name}.",
    )
    interaction_columns: dict[str, str] = Field(
        default_factory=dict,
        description="For tables: our column name -> theirs, e.g. {user_id: customer, timestamp: bought_at}.",
    )
    text_fields: tuple[Literal["title", "brand", "categories", "description"], ...] = Field(
        ("title", "brand", "categories", "description"),
        min_length=1,
        description="Fields joined, in this order, into the text that teacher and encoder read.",
    )
    max_text_chars: int = Field(
        1000,
        ge=16,
        le=100_000,
        description="Characters of `text` kept per item; the rest is cut and counted.",
    )
    min_rating: float | None = Field(None, description="Drop interactions rated lower, where there are ratings.")
    min_user_events: int = Field(1, ge=1, description="k-core: repeatedly drop users with fewer events.")
    min_item_events: int = Field(1, ge=1, description="k-core: repeatedly drop items with fewer events.")
    since: str | None = Field(
        None, description="Keep events from this time on: a date (2018, 20140720, ISO; UTC), or the raw number."
    )
    until: str | None = Field(
        None, description="Keep events before this time: a date (2018, 20140720, ISO; UTC), or the raw number."
    )
    duplicates: Literal["drop", "keep"] = Field(
        "drop", description="Events of the same user, item and time: drop all but the first, or keep them."
    )
    max_loss: float = runtime(  # whether a run stops, not what it makes
        0.3,
        ge=0,
        le=1,
        description="Stop where a larger share of the interactions names unknown items, of the items has no text, or "
        "of the interactions contradicts the order of the split column.",
    )
    split: Literal["leave-one-out", "time", "column"] = Field(
        "leave-one-out",
        description="leave-one-out: each user's last event is test, the one before it valid. time: all events "
        "sorted by time, 8:1:1, those of one moment together. column: as given in a `split` column (train, valid, "
        "test, history); what stands after a later split of the same user becomes history.",
    )
