"""A teacher LLM behind any OpenAI-compatible endpoint.

The client itself retries 429 (honouring Retry-After), 5xx and time-outs with exponential back-off. An answer of the
wrong form or for the wrong item is asked again; an item that still fails gets the keyless keywords and is counted.
"""

import asyncio
import logging
import os
from typing import Any

import openai
import pandas as pd
from pydantic import ValidationError

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig
from tsrec.errors import TeacherError
from tsrec.keywords.prompt import Answer, messages, response_format
from tsrec.keywords.teacher import FALLBACK_SOURCE, Drawn, Teacher

logger = logging.getLogger(__name__)

_ASKS = 3  # the first time, and twice more after an answer of the wrong form
# These will not get better by asking for the next item.
_FATAL = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


class _BadAnswerError(Exception):
    """The answer does not have the form asked for, or is for another item."""


class OpenAITeacher:
    """Asks the endpoint for each item, `concurrency` at once.

    Raises:
        TeacherError: no key in the environment.
    """

    def __init__(self, config: KeywordsConfig, fallback: Teacher) -> None:
        self.config, self.fallback = config, fallback
        settings = config.openai
        key = os.environ.get(settings.api_key_env)
        if not key and settings.base_url is None:
            raise TeacherError(
                f"keywords.teacher is openai, but the environment variable {settings.api_key_env} is not set; set it, "
                "name a keywords.openai.base_url that needs no key, or use keywords.teacher=keyless"
            )
        self.key = key or "none"  # local endpoints want some key, whatever it is

    def draw(self, items: pd.DataFrame) -> Drawn:
        """Keywords for a shard of items. Raises TeacherError when the endpoint refuses key or model."""
        return asyncio.run(self._draw(items))

    async def _draw(self, items: pd.DataFrame) -> Drawn:
        settings = self.config.openai
        usage = {"input_tokens": 0, "output_tokens": 0, "n_bad_answers": 0, "n_keywords_cut": 0}
        limit = asyncio.Semaphore(settings.concurrency)
        async with openai.AsyncOpenAI(
            api_key=self.key,
            base_url=settings.base_url,
            timeout=settings.timeout_s,
            max_retries=settings.max_retries,
        ) as client:

            async def one(item: pd.Series) -> list[str] | None:
                async with limit:
                    return await self._ask(client, item, usage)

            answers = await asyncio.gather(*(one(item) for _, item in items.iterrows()))
        failed = [index for index, keywords in enumerate(answers) if keywords is None]
        sources = [f"openai:{settings.model}"] * len(items)
        if failed:
            stand_in = self.fallback.draw(items.iloc[failed])
            for index, keywords in zip(failed, stand_in.keywords, strict=True):
                answers[index], sources[index] = keywords, FALLBACK_SOURCE
        return Drawn([keywords or [] for keywords in answers], sources, usage)

    async def _ask(self, client: openai.AsyncOpenAI, item: pd.Series, usage: dict[str, int]) -> list[str] | None:
        for _ in range(_ASKS):
            try:
                return await self._ask_once(client, item, usage)
            except _BadAnswerError as error:
                usage["n_bad_answers"] += 1
                logger.warning("teacher, item %s: %s", item[C.ITEM], error)
            except _FATAL as error:
                raise TeacherError(
                    f"the endpoint refused ({error.status_code}): check keywords.openai.model, base_url and the key in "
                    f"{self.config.openai.api_key_env}"
                ) from None
            except openai.OpenAIError as error:  # the client has retried already
                logger.warning("teacher, item %s: %s", item[C.ITEM], type(error).__name__)
                return None
        return None

    async def _ask_once(self, client: openai.AsyncOpenAI, item: pd.Series, usage: dict[str, int]) -> list[str]:
        settings, most = self.config.openai, self.config.max_keywords
        chat: Any = messages(item, most)
        schema: Any = response_format()
        completion = await client.chat.completions.create(
            model=settings.model, temperature=settings.temperature, messages=chat, response_format=schema
        )
        if completion.usage:
            usage["input_tokens"] += completion.usage.prompt_tokens
            usage["output_tokens"] += completion.usage.completion_tokens
        try:
            answer = Answer.model_validate_json(completion.choices[0].message.content or "")
        except (ValidationError, IndexError) as error:
            raise _BadAnswerError(f"not of the form asked for ({type(error).__name__})") from None
        if answer.item_id != item[C.ITEM]:
            raise _BadAnswerError(f"the answer is for item {answer.item_id!r}")
        keywords = list(dict.fromkeys(" ".join(word.lower().split()) for word in answer.keywords if word.strip()))
        if not keywords:
            raise _BadAnswerError("no keywords")
        usage["n_keywords_cut"] += max(0, len(keywords) - most)
        return keywords[:most]
