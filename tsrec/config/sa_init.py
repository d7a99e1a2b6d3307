"""What the sa_init stage reads: what a SID token means and where its embedding starts."""

from typing import Annotated, Literal

from pydantic import Field

from tsrec.config.section import LOCAL_FILE, AddedLater, ImportingSection, InForce, runtime

_AROUND_A_MEAN = InForce(lambda sa_init: sa_init.initializer in ("keywords", "keyword-string"))
_NOT_ALL_RANDOM = InForce(lambda sa_init: sa_init.initializer != "random")


class SaInitConfig(ImportingSection):
    """Token semantics and the initial rows of the SID tokens."""

    import_file: Annotated[str | None, LOCAL_FILE] = runtime(  # its hash, not its place, is fingerprinted
        None,
        description="JSON file, a list of {token, description, keywords}, in `ingest.path` or elsewhere: token "
        "semantics made elsewhere.",
    )
    n_keywords: int = Field(8, ge=1, le=64, description="Keywords kept per token: the most distinguishing ones.")
    initializer: Literal["keywords", "keyword-string", "vocabulary-mean", "random"] = Field(
        "keywords",
        description="keywords: mean over the keywords' mean input embeddings (SA-Init). keyword-string: all keywords "
        "as one string, mean over its tokens (TS-Rec's released code). vocabulary-mean: the library default. random.",
    )
    levels: Annotated[int | None, _NOT_ALL_RANDOM] = Field(
        None,
        ge=0,
        description="How many leading levels are initialized from keywords; the others start random. Empty: all.",
    )
    centre: Annotated[bool, _AROUND_A_MEAN] = Field(
        True, description="Subtract the common mean of rows made from words: it makes them alike."
    )
    whiten: Annotated[bool, AddedLater(False), _AROUND_A_MEAN] = Field(
        False,
        description="Move rows made from words to the nearest ones that are as distinct as they can be: all directions "
        "in which they differ count the same. They start less alike then, which helps where steps are few and long.",
    )
    norm: Literal["as-is", "pretrained"] | Annotated[float, Field(gt=0)] = Field(
        0.5,
        description="Norm of every row: as-is, pretrained (mean norm of the LLM's own rows), or a number.",
    )
    random_std: float = Field(0.02, gt=0, description="Standard deviation of random rows.")
    seed: int = Field(1, ge=0, description="Seed of random rows.")
