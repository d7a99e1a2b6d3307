"""A teacher LLM behind any OpenAI-compatible endpoint.

An answer of the wrong form or for the wrong item is asked again, saying what was wrong. The policy for what still
fails: a single item gets the keyless keywords, marked as such and counted; an endpoint that refuses the key or the
model, cannot be reached, fails on the first few items or on every item of a shard stops the stage, and the next run
goes on at that shard.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pandas as pd
import regex
from pydantic import ValidationError

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig
from tsrec.errors import TeacherError
from tsrec.keywords.chat_endpoint import ChatEndpoint, new_usage
from tsrec.keywords.endpoint_answers import Completion, EndpointError, json_objects
from tsrec.keywords.paid_answers import PaidAnswers
from tsrec.keywords.prompt import SYSTEM, Answer, answer_schema, messages
from tsrec.keywords.teacher import FALLBACK_SOURCE, Drawn, Teacher

logger = logging.getLogger(__name__)

_ASKS = 3  # the first time, and twice more after an answer that cannot be used
_ASKS_WHEN_CUT = 2  # a limit of length does not go away
_FIRST_ITEMS = 5  # an endpoint that fails on so many before it was of any use is not asked about the others
_MAX_KEYWORD_CHARS = 60
_UNSEEN = regex.compile(r"(?V1)[\p{C}--[\u200c\u200d]]")  # control characters, but the joiners of Persian and Hindi


class _BadAnswerError(Exception):
    """The answer does not have the form asked for, or is for another item."""


class OpenAITeacher:
    """Asks the endpoint for each item, `concurrency` at once; `fallback` draws for items that fail.

    What the file `paid` holds is not asked again, and what is answered is kept there.

    Raises:
        ConfigError, TeacherError: the endpoint must not be asked, or there is no key for it (see `permissions`).
    """

    def __init__(self, config: KeywordsConfig, fallback: Teacher, paid: Path | None = None) -> None:
        self.config, self.fallback = config, fallback
        self.endpoint = ChatEndpoint(config.openai, answer_schema())
        depends_on = (self.endpoint.url, config.openai.model, config.openai.temperature, SYSTEM, config.max_keywords)
        self.paid = PaidAnswers(paid, depends_on) if paid else None
        self._is_of_use = False
        self._last_problem = ""

    def draw(self, items: pd.DataFrame) -> Drawn:
        """Keywords for a shard of items.

        Raises:
            TeacherError: the endpoint refuses key or model, cannot be reached, or fails on every one of the items.
        """
        known = [self.paid.get(text) if self.paid else None for text in items[C.TEXT]]
        asked = items[[keywords is None for keywords in known]]
        usage = {"n_answers_known": len(items) - len(asked)} if len(asked) < len(items) else {}
        drawn: Drawn = _run(self._draw(asked)) if len(asked) else Drawn([], [], {})
        answers = iter(zip(drawn.keywords, drawn.sources, strict=True))
        own = self._source()
        rows = [(keywords, own) if keywords is not None else next(answers) for keywords in known]
        return Drawn([keywords for keywords, _ in rows], [source for _, source in rows], {**drawn.usage, **usage})

    def _source(self) -> str:
        return f"openai:{self.config.openai.model}"

    async def _draw(self, items: pd.DataFrame) -> Drawn:
        usage = new_usage()
        limit = asyncio.Semaphore(self.config.openai.concurrency)
        rows = [item for _, item in items.iterrows()]
        async with self.endpoint.client() as client:

            async def one(item: pd.Series) -> list[str]:
                async with limit:
                    return await self._ask(client, item, usage)

            keywords = await self._ask_first(client, rows, usage)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(item)) for item in rows[len(keywords) :]]
            except ExceptionGroup as errors:  # the other requests have been cancelled
                raise errors.exceptions[0] from None
        keywords += [task.result() for task in tasks]
        failed = [index for index, words in enumerate(keywords) if not words]
        if len(failed) == len(items) > 1:
            raise self._of_no_use(f"any of {len(items)} items")
        sources = [self._source()] * len(items)
        if failed:
            stand_in = self.fallback.draw(items.iloc[failed])
            usage.update(stand_in.usage)
            for index, words in zip(failed, stand_in.keywords, strict=True):
                keywords[index], sources[index] = words, FALLBACK_SOURCE
        return Drawn(keywords, sources, dict(usage))

    async def _ask_first(
        self, client: openai.AsyncOpenAI, rows: list[pd.Series], usage: Counter[str]
    ) -> list[list[str]]:
        """The first items one by one, until one answer is of use: what an endpoint refuses is refused once."""
        keywords: list[list[str]] = []
        while not self._is_of_use and len(keywords) < len(rows):
            keywords.append(await self._ask(client, rows[len(keywords)], usage))
            if len(keywords) == _FIRST_ITEMS and not self._is_of_use:
                raise self._of_no_use(f"any of the first {_FIRST_ITEMS} items")
        return keywords

    def _of_no_use(self, items: str) -> TeacherError:
        return TeacherError(
            f"{self.endpoint.url} gave no usable answer for {items} (the last time: {self._last_problem}); check "
            f"keywords.openai (model, base_url, temperature, timeout_s), then run again: finished shards are kept"
        )

    async def _ask(self, client: openai.AsyncOpenAI, item: pd.Series, usage: Counter[str]) -> list[str]:
        """Keywords of one item; none where it failed for good."""
        most = self.config.max_keywords
        problem, too_many, n_cut = "", list[str](), 0
        for _ in range(_ASKS):
            try:
                completion = await self.endpoint.complete(client, messages(item, most, problem), usage)
            except EndpointError as error:
                self._note(item, f"the request failed: {self.endpoint.shown(error)}")
                break
            try:
                keywords = _checked(completion, item[C.ITEM])
                self._is_of_use = True
                if len(keywords) <= most:
                    if self.paid:
                        self.paid.put(item[C.TEXT], keywords)
                    return keywords
                if too_many:  # twice is enough: the first ones will do
                    break
                too_many = keywords
                raise _BadAnswerError(f"it lists {len(keywords)} keywords, more than {most}")
            except _BadAnswerError as error:
                usage["n_bad_answers"] += 1
                problem = str(error)
                self._note(item, f"cannot use the answer: {problem}")
                n_cut += completion.is_cut
                if n_cut == _ASKS_WHEN_CUT or completion.is_filtered:
                    break
        usage["n_keywords_cut"] += max(0, len(too_many) - most)
        return too_many[:most]

    def _note(self, item: pd.Series, problem: str) -> None:
        self._last_problem = problem
        logger.warning("teacher, item %s: %s", item[C.ITEM], problem)


def _checked(completion: Completion, item_id: str) -> list[str]:
    """The keywords of an answer, in lower case, each once. Raises _BadAnswerError where it is of another form."""
    problem = "it holds no JSON object of the form asked for"
    if completion.is_filtered:
        problem = "the endpoint's filter stopped it"
    elif completion.is_cut:
        problem = "it was cut off by a limit of length before it was whole; be shorter"
    elif not completion.text.strip():
        problem = "it is empty"
    for value in json_objects(completion.text):
        try:
            answer = Answer.model_validate(value)
        except ValidationError:
            continue
        if answer.item_id != item_id:
            problem = "its item_id is another one"
            continue
        cleaned = (" ".join(_UNSEEN.sub(" ", word.lower()).split()) for word in answer.keywords)
        keywords = list(dict.fromkeys(filter(None, cleaned)))
        if not keywords:
            raise _BadAnswerError("it lists no keywords")
        if max(map(len, keywords)) > _MAX_KEYWORD_CHARS:
            raise _BadAnswerError(f"a keyword is longer than {_MAX_KEYWORD_CHARS} characters")
        return keywords
    raise _BadAnswerError(problem)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, also from a notebook, whose thread has an event loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
