"""Which teacher draws keywords from item texts, and which one puts into words what SID tokens mean."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tsrec.config.base import InForce, Section, runtime
from tsrec.machine.addresses import address_problem


class OpenAIConfig(Section):
    """Any OpenAI-compatible endpoint. The operator decides which are asked, with which key (docs/security.md)."""

    base_url: str | None = Field(None, description="Endpoint, e.g. http://localhost:8000/v1; empty: api.openai.com.")
    model: str = Field("gpt-4o-mini", min_length=1, description="Model name as the endpoint knows it.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    concurrency: int = runtime(8, ge=1, le=256, description="Requests under way at once.")
    timeout_s: float = runtime(60.0, gt=0, description="Seconds until one request is given up.")
    max_retries: int = runtime(5, ge=0, le=20, description="Retries of one request, with exponential back-off.")
    usd_per_million_input_tokens: float = runtime(0.0, ge=0, description="Price, to report the cost.")
    usd_per_million_output_tokens: float = runtime(0.0, ge=0, description="Price, to report the cost.")

    @field_validator("base_url")
    @classmethod
    def _address_is_plain(cls, url: str | None) -> str | None:
        if url and (problem := address_problem(url)):
            raise ValueError(f"the address {problem}")
        return url


class KeywordsConfig(Section):
    """The teacher."""

    teacher: Literal["keyless", "openai"] = Field(
        "keyless",
        description="keyless: class-based TF-IDF, deterministic. openai: an LLM behind an endpoint.",
    )
    shard_items: int = runtime(256, ge=1, description="Items per shard; a killed run resumes at the next shard.")
    openai: Annotated[OpenAIConfig, InForce(lambda keywords: keywords.teacher == "openai")] = Field(
        OpenAIConfig(), description="Used when teacher is openai."
    )


class SemanticsConfig(Section):
    """Item clusters in words, for TS-Align."""

    teacher: Literal["keyless", "openai"] = Field(
        "keyless",
        description="Who describes the items of a token. keyless: a template, from the strongest keywords and typical "
        "items. openai: the LLM of keywords.openai, from the strongest keywords and the nearest items.",
    )
