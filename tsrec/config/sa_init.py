"""What the sa_init stage reads: what a SID token means and where its embedding starts."""

from typing import Annotated, Literal

from pydantic import Field

from tsrec.config.base import LOCAL_FILE, ImportingSection, InForce, runtime

_AROUND_A_MEAN = InForce(lambda sa_init: sa_init.initializer in ("keywords", "keyword-string"))


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
    centre: Annotated[bool, _AROUND_A_MEAN] = Field(
        True, description="Subtract the common mean of rows made from words: it makes them alike."
    )
    norm: Literal["as-is", "pretrained"] | Annotated[float, Field(gt=0)] = Field(
        0.5,
        description="Norm of every row: as-is, pretrained (mean norm of the LLM's own rows), or a number.",
    )


class SaInitSettings(SaInitConfig):
    """What the sa_init stage reads: its own section, and the seed of training, which random rows come from."""

    finetune_seed: int
