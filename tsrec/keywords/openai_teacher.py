"""A teacher LLM behind any OpenAI-compatible endpoint.

The client itself retries 429 (honouring Retry-After), 5xx and time-outs with exponential back-off. An answer of the
wrong form or for the wrong item is asked again, saying what was wrong. The policy for what still fails: a single item
gets the keyless keywords, marked as such and counted; an endpoint that refuses the key or the model, cannot be
reached, or fails on every item of a shard stops the stage, and the next run goes on at that shard.
"""

import asyncio
import logging
import os
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import openai
import pandas as pd
from pydantic import ValidationError

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig
from tsrec.errors import TeacherError
from tsrec.keywords.prompt import Answer, correction, messages, response_format
from tsrec.keywords.teacher import FALLBACK_SOURCE, Drawn, Teacher

logger = logging.getLogger(__name__)

# Named here, so that no environment variable of the client moves a run to another endpoint unseen.
_DEFAULT_URL = "https://api.openai.com/v1"
_ASKS = 3  # the first time, and twice more after an answer that cannot be used
_MAX_KEYWORD_CHARS = 60
# These will not get better by asking for the next item.
_REFUSALS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


class _BadAnswerError(Exception):
    """The answer does not have the form asked for, or is for another item."""


class OpenAITeacher:
    """Asks the endpoint for each item, `concurrency` at once; `fallback` draws for items that fail.

    Raises:
        TeacherError: no key in the environment, and the endpoint is not on this machine.
    """

    def __init__(self, config: KeywordsConfig, fallback: Teacher) -> None:
        self.config, self.fallback = config, fallback
        variable = config.openai.api_key_env
        self.url = config.openai.base_url or _DEFAULT_URL
        key = os.environ.get(variable, "").strip()
        if not key and urlsplit(self.url).hostname not in ("localhost", "127.0.0.1", "::1"):
            raise TeacherError(
                f"keywords.teacher is openai, but the environment variable {variable} holds no key for {self.url}; "
                f"set it (to any word, where the endpoint asks for none) or use keywords.teacher=keyless"
            )
        self.key = key or "none"  # the client insists on some key

    def draw(self, items: pd.DataFrame) -> Drawn:
        """Keywords for a shard of items.

        Raises:
            TeacherError: the endpoint refuses key or model, cannot be reached, or fails on every one of the items.
        """
        drawn: Drawn = _run(self._draw(items))
        return drawn

    async def _draw(self, items: pd.DataFrame) -> Drawn:
        settings = self.config.openai
        usage = {"input_tokens": 0, "output_tokens": 0, "n_bad_answers": 0, "n_keywords_cut": 0}
        limit = asyncio.Semaphore(settings.concurrency)
        async with openai.AsyncOpenAI(
            api_key=self.key, base_url=self.url, timeout=settings.timeout_s, max_retries=settings.max_retries
        ) as client:

            async def one(item: pd.Series) -> list[str]:
                async with limit:
                    return await self._ask(client, item, usage)

            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(item)) for _, item in items.iterrows()]
            except ExceptionGroup as errors:  # the other requests have been cancelled
                raise errors.exceptions[0] from None
        keywords = [task.result() for task in tasks]
        failed = [index for index, words in enumerate(keywords) if not words]
        if len(failed) == len(items) > 1:
            raise TeacherError(
                f"{self.url} gave no usable answer for any of {len(items)} items (the log says why, item by item); "
                f"check keywords.openai, then run again: finished shards are kept"
            )
        sources = [f"openai:{settings.model}"] * len(items)
        if failed:
            stand_in = self.fallback.draw(items.iloc[failed])
            for index, words in zip(failed, stand_in.keywords, strict=True):
                keywords[index], sources[index] = words, FALLBACK_SOURCE
        return Drawn(keywords, sources, usage)

    async def _ask(self, client: openai.AsyncOpenAI, item: pd.Series, usage: dict[str, int]) -> list[str]:
        """Keywords of one item; none where it failed for good."""
        most = self.config.max_keywords
        chat, too_many = messages(item, most), list[str]()
        for _ in range(_ASKS):
            try:
                keywords = await self._ask_once(client, chat, item[C.ITEM], usage)
                if len(keywords) <= most:
                    return keywords
                if too_many:  # twice is enough: the first ones will do
                    break
                too_many = keywords
                raise _BadAnswerError(f"it lists {len(keywords)} keywords, more than {most}")
            except _BadAnswerError as error:
                usage["n_bad_answers"] += 1
                logger.warning("teacher, item %s: cannot use the answer: %s", item[C.ITEM], error)
                chat = [*messages(item, most), correction(str(error))]
            except openai.APIStatusError as error:
                self._stop_if_hopeless(error)
                logger.warning("teacher, item %s: the endpoint answered %d", item[C.ITEM], error.status_code)
                break
            except openai.APITimeoutError:
                logger.warning("teacher, item %s: no answer within %g s", item[C.ITEM], self.config.openai.timeout_s)
                break
            except openai.APIConnectionError:
                raise TeacherError(f"{self.url} cannot be reached; run again when it can: shards are kept") from None
        usage["n_keywords_cut"] += max(0, len(too_many) - most)
        return too_many[:most]

    def _stop_if_hopeless(self, error: openai.APIStatusError) -> None:
        """Raise TeacherError for refusals. The endpoint's own words stay out: some repeat part of the key."""
        settings = self.config.openai
        if isinstance(error, _REFUSALS) or error.code == "insufficient_quota":
            raise TeacherError(
                f"{self.url} refused ({error.status_code} {error.code or type(error).__name__}); check "
                f"keywords.openai.model ({settings.model}), base_url, and the key in {settings.api_key_env}"
            ) from None

    async def _ask_once(
        self, client: openai.AsyncOpenAI, chat: list[dict[str, str]], item_id: str, usage: dict[str, int]
    ) -> list[str]:
        settings = self.config.openai
        typed_chat: Any = chat  # the client's own types list every kind of message
        schema: Any = response_format()
        completion = await client.chat.completions.create(
            model=settings.model, temperature=settings.temperature, messages=typed_chat, response_format=schema
        )
        if completion.usage:
            usage["input_tokens"] += completion.usage.prompt_tokens
            usage["output_tokens"] += completion.usage.completion_tokens
        content = (completion.choices[0].message.content if completion.choices else None) or ""
        return _checked(content, item_id)


def _checked(content: str, item_id: str) -> list[str]:
    """The keywords of an answer, in lower case, each once. Raises _BadAnswerError where it is of another form."""
    try:
        # Endpoints that ignore the schema like to wrap the object in a Markdown block.
        answer = Answer.model_validate_json(content[content.find("{") : content.rfind("}") + 1])
    except ValidationError:
        raise _BadAnswerError("it is not a JSON object of the form asked for") from None
    if answer.item_id != item_id:
        raise _BadAnswerError("its item_id is another one")
    keywords = list(dict.fromkeys(" ".join(word.lower().split()) for word in answer.keywords if word.strip()))
    if not keywords:
        raise _BadAnswerError("it lists no keywords")
    if max(map(len, keywords)) > _MAX_KEYWORD_CHARS:
        raise _BadAnswerError(f"a keyword is longer than {_MAX_KEYWORD_CHARS} characters")
    return keywords


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, also from a notebook, whose thread has an event loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
