"""A request for recommendations in a batch, from a finished model. No stage reads it."""

from typing import Annotated

from pydantic import Field

from tsrec.columns import FUSED
from tsrec.config.base import LOCAL_PATH, Section, runtime

ALL_USERS = "all"


class BatchRequest(Section):
    """Recommendations to make: for whom, how many, of what, by which model."""

    users: Annotated[str, LOCAL_PATH] = Field(
        ALL_USERS, min_length=1, description="`all` users with an event, or a text file of user ids, one a line."
    )
    out: Annotated[str, LOCAL_PATH] = runtime(
        "recommendations", min_length=1, description="Folder of the Parquet parts. The same request goes on there."
    )
    k: int = Field(10, ge=1, le=10_000, description="Items for each user.")
    allow: Annotated[str | None, LOCAL_PATH] = Field(
        None, description="Text file of item ids, one a line: nothing else is recommended."
    )
    deny: Annotated[str | None, LOCAL_PATH] = Field(
        None, description="Text file of item ids, one a line: none of these is recommended."
    )
    max_unknown: float = runtime(  # whether a call stops, not what it makes
        0.5,
        ge=0,
        le=1,
        description="Stop where a larger share of a list's ids is not known. 1: a list of new users, who get what is "
        "popular, is meant.",
    )
    no_repeats: bool = Field(
        False, description="Leave out what a user already has; else the model's own rule holds (recommend.repeats)."
    )
    method: str = Field(FUSED, min_length=1, description="fused, or one member: tsrec, transitions, ...")
    model: str | None = Field(
        None,
        min_length=1,
        description="A finished model by the first digits of its fingerprint (`tsrec models list`), or `profile`: the "
        "newest one made with exactly these settings; empty: the data set's champion.",
    )
    shard_users: int = Field(1024, ge=1, description="Users per part; a killed call goes on at the next part.")
