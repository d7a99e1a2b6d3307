"""Asking a teacher LLM many questions at once: what is asked again, and what stops the stage.

After an answer of the wrong form the question is asked again, and says what was wrong. After three such answers the
question has no answer, and the caller finds a stand-in. The stage stops where the endpoint refuses the key or the
model, cannot be reached, or fails on the first five questions or on all of them. Knows nothing of what is asked.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import openai
import regex
from pydantic import BaseModel, ValidationError

from tsrec.config import OpenAIConfig
from tsrec.errors import TeacherError
from tsrec.keywords.answer_cache import AnswerCache
from tsrec.keywords.chat_endpoint import Chat, ChatEndpoint, new_usage
from tsrec.keywords.endpoint_answers import Completion, EndpointError, json_objects

Answer = list[str]
Form = TypeVar("Form", bound=BaseModel)

logger = logging.getLogger(__name__)

_ASKS = 3  # the first time, and twice more after an answer that cannot be used
_ASKS_WHEN_CUT = 2  # a limit of length does not go away
_FIRST = 5  # an endpoint that fails on all of the first five is not asked about the others
_UNSEEN = regex.compile(r"(?V1)[\p{C}--[\u200c\u200d]]")  # control characters, but the joiners of Persian and Hindi


class BadAnswerError(Exception):
    """The answer cannot be used as it is. `usable` is the part of it that is taken if the next answer is no better."""

    def __init__(self, problem: str, usable: Any = None) -> None:
        super().__init__(problem)
        self.usable = usable


@dataclass(frozen=True)
class Question:
    """A question about `name`, such as `item B0001`.

    `chat` makes its messages. It is given what was wrong with the last answer. `read` makes the answer from a
    completion, or raises BadAnswerError. The same `text` is not asked about twice: answers that were paid for are kept.
    """

    name: str
    text: str
    chat: Callable[[str], Chat]
    read: Callable[[Completion], Answer]


class Asker:
    """Asks one endpoint, `concurrency` questions at once. What was paid for is not asked again.

    Args:
        settings: the endpoint, and how it is asked.
        schema: that endpoints with structured output hold answers to.
        kind: what questions are about, such as `items`, for messages.
        instructions: what answers depend on beside address, model and temperature.
        paid: the file of answers that were paid for; None: they are not kept.

    Raises:
        ConfigError, TeacherError: the endpoint must not be asked, or there is no key for it (see `permissions`).
    """

    def __init__(
        self,
        settings: OpenAIConfig,
        schema: dict[str, Any],
        kind: str,
        instructions: tuple[Any, ...],
        paid: Path | None,
    ) -> None:
        self.settings, self.kind = settings, kind
        self.endpoint = ChatEndpoint(settings, schema)
        depends_on = (self.endpoint.url, settings.model, settings.temperature, *instructions)
        self._paid = AnswerCache(paid, depends_on) if paid else None
        self._has_worked = False
        self._last_problem = ""

    def ask(self, questions: Sequence[Question], usage: Counter[str]) -> list[Answer | None]:
        """An answer for each question, None where it failed for good; what it took is counted in `usage`.

        Raises:
            TeacherError: the endpoint refuses key or model, cannot be reached, or fails on every question.
        """
        known = [self._paid.get(question.text) if self._paid else None for question in questions]
        asked = [question for question, answer in zip(questions, known, strict=True) if answer is None]
        if len(asked) < len(questions):
            usage["n_answers_known"] += len(questions) - len(asked)
        if not asked:
            return known
        usage.update(new_usage())
        answers: list[Answer | None] = _run(self._ask_all(asked, usage))
        if len(asked) > 1 and all(answer is None for answer in answers):
            raise self._useless(f"any of {len(asked)} {self.kind}")
        new = iter(answers)
        return [next(new) if answer is None else answer for answer in known]

    async def _ask_all(self, questions: Sequence[Question], usage: Counter[str]) -> list[Answer | None]:
        limit = asyncio.Semaphore(self.settings.concurrency)
        async with self.endpoint.client() as client:

            async def ask_within_limit(question: Question) -> Answer | None:
                async with limit:
                    return await self._ask(client, question, usage)

            answers = await self._ask_first(client, questions, usage)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(ask_within_limit(question)) for question in questions[len(answers) :]]
            except ExceptionGroup as errors:  # the other requests have been cancelled
                raise errors.exceptions[0] from None
        return answers + [task.result() for task in tasks]

    async def _ask_first(
        self, client: openai.AsyncOpenAI, questions: Sequence[Question], usage: Counter[str]
    ) -> list[Answer | None]:
        """The first ones one by one, until one answer is of use: what an endpoint refuses is refused once."""
        answers: list[Answer | None] = []
        while not self._has_worked and len(answers) < len(questions):
            answers.append(await self._ask(client, questions[len(answers)], usage))
            if len(answers) == _FIRST and not self._has_worked:
                raise self._useless(f"any of the first {_FIRST} {self.kind}")
        return answers

    async def _ask(self, client: openai.AsyncOpenAI, question: Question, usage: Counter[str]) -> Answer | None:
        problem, n_cut = "", 0
        usable: Answer | None = None
        for _ in range(_ASKS):
            try:
                completion = await self.endpoint.complete(client, question.chat(problem), usage)
            except EndpointError as error:
                self._note(question.name, f"the request failed: {self.endpoint.describe(error)}")
                break
            try:
                answer = question.read(completion)
            except BadAnswerError as error:
                if error.usable is not None:
                    self._has_worked = True
                    if usable is not None:  # twice is enough: the first one is taken
                        break
                    usable = error.usable
                usage["n_bad_answers"] += 1
                problem = str(error)
                self._note(question.name, f"cannot use the answer: {problem}")
                n_cut += completion.is_cut
                if n_cut == _ASKS_WHEN_CUT or completion.is_filtered:
                    break
            else:
                self._has_worked = True
                if self._paid:
                    self._paid.put(question.text, answer)
                return answer
        return usable

    def _useless(self, which: str) -> TeacherError:
        return TeacherError(
            f"{self.endpoint.url} gave no usable answer for {which} (the last time: {self._last_problem}); check "
            f"keywords.openai (model, base_url, temperature, timeout_s), then run again: finished shards are kept"
        )

    def _note(self, name: str, problem: str) -> None:
        self._last_problem = problem
        logger.warning("teacher, %s: %s", name, problem)


def one_line(text: str) -> str:
    """A text of an answer on one line, without what cannot be seen."""
    return " ".join(_UNSEEN.sub(" ", text).split())


def read_object(completion: Completion, form: type[Form], field: str, name: str) -> Form:
    """The object of an answer that has the form asked for and is about `name`, as its `field` says.

    Raises:
        BadAnswerError: it holds none.
    """
    if completion.is_filtered:
        problem = "the endpoint's filter stopped it"
    elif completion.is_cut:
        problem = "it was cut off by a limit of length before it was whole; be shorter"
    elif not completion.text.strip():
        problem = "it is empty"
    else:
        problem = "it holds no JSON object of the form asked for"
    for value in json_objects(completion.text):
        try:
            answer = form.model_validate(value)
        except ValidationError:
            continue
        if getattr(answer, field) == name:
            return answer
        problem = f"its {field} is another one"
    raise BadAnswerError(problem)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, also from a notebook, whose thread has an event loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
