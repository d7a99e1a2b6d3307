"""What the ingest stage reads: where the raw files are and how they become items and interactions."""

import codecs
import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tsrec.config.base import EACH_ONCE, AddedLater, OnDisk, Section, runtime
from tsrec.machine.addresses import place_problem

_LAYOUT = ("item_columns", "interaction_columns", "items_format", "interactions_format", "time_format", "keep")
# Settings without effect, by source: the layout of its files is known.
_WITHOUT_EFFECT = {"movielens": _LAYOUT, "movielens-100k": (*_LAYOUT, "items_file", "interactions_file")}


class _ColumnNames(Section):
    """One field for each of our columns: its name in the raw files, where that is another one."""

    def renamed(self) -> dict[str, str]:
        """Our name -> the name in the raw files, of the columns that have one there."""
        return {ours: theirs for ours, theirs in self.model_dump().items() if theirs is not None}


class ItemColumns(_ColumnNames):
    """What the raw files call the columns of items; where there is no file of items, what the interactions call them.
    A field of a list or object is named with a dot: `items.name`."""

    item_id: str | None = Field(None, min_length=1, description="Their name of the item's id.")
    title: str | None = Field(None, min_length=1, description="Their name of the title.")
    description: str | None = Field(None, min_length=1, description="Their name of the description.")
    brand: str | None = Field(None, min_length=1, description="Their name of the brand, author or maker.")
    categories: str | None = Field(None, min_length=1, description="Their name of the categories, genres or tags.")


class InteractionColumns(_ColumnNames):
    """What the raw files call the columns of interactions. Where a row holds a list of them, as a session a line,
    `events.ts` is the field `ts` of each."""

    user_id: str | None = Field(None, min_length=1, description="Their name of the user's or session's id.")
    item_id: str | None = Field(None, min_length=1, description="Their name of the item's id.")
    timestamp: str | None = Field(
        None, min_length=1, description="Their name of the time, or of a column of numbers that orders a user's events."
    )
    order: Annotated[str | None, AddedLater(None)] = Field(
        None,
        min_length=1,
        description="Their name of a column that orders events of one user and time: numbers, dates or times of day "
        "(milliseconds within a session, the place in a basket).",
    )
    rating: str | None = Field(None, min_length=1, description="Their name of the rating (for min_rating).")
    split: str | None = Field(None, min_length=1, description="Their name of the split (for split: column).")


class TableFormat(Section):
    """How separated text files are written. Nothing of it is needed where the suffix says it all."""

    separator: str | None = Field(
        None,
        min_length=1,
        description="What stands between fields, one character or more (`;` `|` `::` `\\t`); by default a comma in "
        ".csv, a tab in .tsv, .inter, .item, or what a first line `sep=;` says.",
    )
    encoding: str = Field(
        "utf-8", description="Text encoding, as Python names it: latin-1, cp1252, utf-16, gb18030 ..."
    )
    column_names: Annotated[tuple[str, ...] | None, EACH_ONCE] = Field(
        None, min_length=1, description="The columns, in order, of files that have no header line."
    )
    quoting: Literal["auto", "double", "none"] = Field(
        "auto",
        description="double: fields may stand in quotation marks, as CSV has it. none: such marks are text. auto: "
        "double between commas and semicolons; elsewhere where all marks of the file can be read so.",
    )
    escape: str | None = Field(
        None, min_length=1, max_length=1, description="Character before a quotation mark inside a field (Spark: `\\`)."
    )

    @field_validator("separator")
    @classmethod
    def _written_as_backslash_t(cls, value: str | None) -> str | None:
        return value.replace("\\t", "\t") if value else value

    @field_validator("encoding")
    @classmethod
    def _known_to_python(cls, value: str) -> str:
        try:
            "".encode(value)
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(f"no text encoding {value!r}; e.g. utf-8, latin-1, cp1252, utf-16") from None


class InteractionsFormat(TableFormat):
    """The same for interactions, of which numbers are read."""

    decimal: Annotated[Literal[".", ","], AddedLater(".")] = Field(
        ".",
        description="Decimal mark of numbers (times, ratings); where it is a comma, points stand between thousands.",
    )


class IngestConfig(Section):
    """Raw files, cleaning, filtering and splitting."""

    source: Literal["movielens-100k", "movielens", "amazon", "recbole", "tables"] = Field(
        "movielens-100k",
        description="Format of the raw data: MovieLens-100K from its PyPI wheel, a folder of MovieLens as published "
        "(100K to 32M), Amazon reviews (2014, 2018, 2023), RecBole atomic files, or any CSV/JSON/Parquet tables.",
    )
    path: Annotated[  # the hashes of its files, not its place, are fingerprinted
        str | None, OnDisk(instead="name its files in ingest.items_file and ingest.interactions_file")
    ] = runtime(None, description="Folder that holds the raw files (not needed for movielens-100k).")
    items_file: str | None = Field(
        None,
        min_length=1,
        description="Items within `path`: a file, a folder of part files, or a pattern (`items/*.parquet`); or a URL "
        "(`https://...`, `s3://bucket/items/*.parquet`) that the operator allows; by default what fits the source, or, "
        "where nothing does and `item_columns` are given, the interactions.",
    )
    interactions_file: str | None = Field(
        None,
        min_length=1,
        description="Interactions within `path`: a file, a folder of part files, or a pattern (`log_2026-*.csv`); or a "
        "URL, as of items; by default what fits the source.",
    )
    item_columns: ItemColumns = Field(
        ItemColumns(), description="Our column name -> theirs, e.g. {item_id: sku, title: name}."
    )
    interaction_columns: InteractionColumns = Field(
        InteractionColumns(), description="Our column name -> theirs, e.g. {user_id: customer, timestamp: bought_at}."
    )
    items_format: TableFormat = Field(TableFormat(), description="How separated files of items are written.")
    interactions_format: InteractionsFormat = Field(
        InteractionsFormat(), description="How separated files of interactions are written."
    )
    order: Literal["timestamp", "rows"] = Field(
        "timestamp",
        description="What orders a user's events. rows: the files have no times, the order of their rows counts; "
        "`timestamp` becomes the number of the row.",
    )
    time_format: str | None = Field(
        None,
        min_length=1,
        description="How times are written that are neither numbers nor ISO dates, e.g. %m/%d/%Y %I:%M:%S %p.",
    )
    text_fields: Annotated[tuple[Literal["title", "brand", "categories", "description"], ...], EACH_ONCE] = Field(
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
    drop_users: Annotated[tuple[str, ...], AddedLater(())] = Field(
        (), description="Ids that are no person's, such as guest or -1: their interactions are left out."
    )
    keep: Annotated[dict[str, tuple[str | None, ...]] | None, AddedLater(None)] = Field(
        None,
        min_length=1,
        description="Kinds of interactions to keep: column in the raw files -> its values, e.g. {type: [clicks, "
        "orders]}; of several columns all have to fit. 1, 1.0, '1' and true are the same value.",
    )
    min_rating: float | None = Field(
        None, description="Drop interactions rated lower, where there are ratings; true counts as 1, false as 0."
    )
    min_user_events: int = Field(1, ge=1, description="k-core: repeatedly drop users with fewer events.")
    min_item_events: int = Field(1, ge=1, description="k-core: repeatedly drop items with fewer events.")
    since: str | None = Field(
        None, description="Keep events from this time on: a date (2018, 20140720, ISO; UTC), or the raw number."
    )
    until: str | None = Field(
        None, description="Keep events before this time: a date (2018, 20140720, ISO; UTC), or the raw number."
    )
    duplicates: Literal["drop", "keep"] = Field(
        "drop",
        description="Events of the same user, item, time and order, and files of interactions with the same bytes: "
        "drop all but the first, or keep them.",
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
        "test, history) or by files that are named so (log.train.csv); what stands after a later split of the same "
        "user becomes history.",
    )

    @field_validator("items_file", "interactions_file")
    @classmethod
    def _paths_or_urls(cls, value: str | None) -> str | None:
        if value and (problem := place_problem(value)):
            raise ValueError(f"the value {problem}")
        return value

    @field_validator("keep", mode="before")
    @classmethod
    def _lists_of_values(cls, values: Any) -> Any:
        """A value alone is a list of one; all values are texts, or None for missing ones. A form sends JSON as text."""
        if isinstance(values, str):
            try:
                values = json.loads(values) if values.strip() else None
            except ValueError:
                raise ValueError('expected columns and their values as JSON: {"type": ["clicks", "orders"]}') from None
        if not isinstance(values, dict):
            return values
        lists = {}
        for column, given in values.items():
            if isinstance(given, dict):
                raise ValueError(f"{column}: expected a list of values; a dotted column is written {{a.b: [values]}}")
            kept = given if isinstance(given, list | tuple) else [given]
            if not kept:
                raise ValueError(f"{column}: no value given, so that no interaction would stay")
            lists[column] = [str(value).lower() if isinstance(value, bool) else value for value in kept]
        return lists

    @field_validator("min_rating", mode="before")
    @classmethod
    def _true_is_one(cls, value: Any) -> Any:
        return {"true": 1, "false": 0}.get(value.strip().lower(), value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _no_source_by_accident(self) -> "IngestConfig":
        changed = [name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default]
        if changed and "source" not in self.model_fields_set:
            raise ValueError(
                f"{', '.join(changed)} given, but no source, and {self.source} would be read by accident; "
                "name ingest.source"
            )
        if self.path and self.source == "movielens-100k":
            raise ValueError(
                f"path given, but source {self.source} comes from its wheel and reads no folder; name your source"
            )
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> "IngestConfig":
        for field in _WITHOUT_EFFECT.get(self.source, ()):
            if getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(
                    f"ingest.{field} is not for source {self.source!r}, whose files are known; "
                    "take it out, or set ingest.source (tables reads any)"
                )
        if self.order == "rows" and (self.since or self.until or self.time_format):
            raise ValueError("ingest.order=rows reads no times: take ingest.since, until and time_format out")
        if self.order == "rows" and self.interaction_columns.order:
            raise ValueError(
                "ingest.order=rows needs no interaction_columns.order: take one out, or map that column as timestamp "
                "and leave ingest.order at timestamp"
            )
        return self
