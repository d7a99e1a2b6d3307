"""A teacher LLM behind any OpenAI-compatible endpoint.

How often it is asked, and what ends it all: see `asking`. A single item that fails gets the keyless keywords, marked as
such and counted; where the endpoint is of no use, the next run goes on at that shard.
"""

from functools import partial
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig
from tsrec.keywords.asking import Asker, BadAnswerError, Question, plain, problem_of
from tsrec.keywords.chat_endpoint import new_usage
from tsrec.keywords.endpoint_answers import Completion, json_objects
from tsrec.keywords.paid_answers import PaidAnswers
from tsrec.keywords.prompt import SYSTEM, Answer, answer_schema, messages
from tsrec.keywords.teacher import FALLBACK_SOURCE, Drawn, Teacher

_MAX_KEYWORD_CHARS = 60


class OpenAITeacher:
    """Asks the endpoint for each item, `concurrency` at once; `fallback` draws for items that fail.

    What the file `paid` holds is not asked again, and what is answered is kept there.

    Raises:
        ConfigError, TeacherError: the endpoint must not be asked, or there is no key for it (see `permissions`).
    """

    def __init__(self, config: KeywordsConfig, fallback: Teacher, paid: Path | None = None) -> None:
        self.config, self.fallback = config, fallback
        self.asker = Asker(config.openai, answer_schema(), "items")
        url = self.asker.endpoint.url
        depends_on = (url, config.openai.model, config.openai.temperature, SYSTEM, config.max_keywords)
        self.paid = PaidAnswers(paid, depends_on) if paid else None

    def draw(self, items: pd.DataFrame) -> Drawn:
        """Keywords for a shard of items.

        Raises:
            TeacherError: the endpoint refuses key or model, cannot be reached, or fails on every one of the items.
        """
        known = [self.paid.get(text) if self.paid else None for text in items[C.TEXT]]
        asked = items[[keywords is None for keywords in known]]
        usage = {"n_answers_known": len(items) - len(asked)} if len(asked) < len(items) else {}
        drawn = self._draw(asked) if len(asked) else Drawn([], [], {})
        answers = iter(zip(drawn.keywords, drawn.sources, strict=True))
        own = self._source()
        rows = [(keywords, own) if keywords is not None else next(answers) for keywords in known]
        return Drawn([keywords for keywords, _ in rows], [source for _, source in rows], {**drawn.usage, **usage})

    def _source(self) -> str:
        return f"openai:{self.config.openai.model}"

    def _draw(self, items: pd.DataFrame) -> Drawn:
        usage, most = new_usage(), self.config.max_keywords
        questions = [self._question(item) for _, item in items.iterrows()]
        answers = [keywords or [] for keywords in self.asker.ask(questions, usage)]
        keywords = [answer[:most] for answer in answers]
        usage["n_keywords_cut"] += sum(max(0, len(answer) - most) for answer in answers)
        sources = [self._source()] * len(items)
        if failed := [index for index, words in enumerate(keywords) if not words]:
            stand_in = self.fallback.draw(items.iloc[failed])
            usage.update(stand_in.usage)
            for index, words in zip(failed, stand_in.keywords, strict=True):
                keywords[index], sources[index] = words, FALLBACK_SOURCE
        return Drawn(keywords, sources, dict(usage))

    def _question(self, item: pd.Series) -> Question[list[str]]:
        return Question(
            f"item {item[C.ITEM]}", partial(messages, item, self.config.max_keywords), partial(self._read, item)
        )

    def _read(self, item: pd.Series, completion: Completion) -> list[str]:
        keywords, most = _checked(completion, item[C.ITEM]), self.config.max_keywords
        if len(keywords) > most:
            raise BadAnswerError(f"it lists {len(keywords)} keywords, more than {most}", keywords)
        if self.paid:
            self.paid.put(item[C.TEXT], keywords)
        return keywords


def _checked(completion: Completion, item_id: str) -> list[str]:
    """The keywords of an answer, in lower case, each once. Raises BadAnswerError where it is of another form."""
    problem = problem_of(completion)
    for value in json_objects(completion.text):
        try:
            answer = Answer.model_validate(value)
        except ValidationError:
            continue
        if answer.item_id != item_id:
            problem = "its item_id is another one"
            continue
        keywords = list(dict.fromkeys(filter(None, (plain(word.lower()) for word in answer.keywords))))
        if not keywords:
            raise BadAnswerError("it lists no keywords")
        if max(map(len, keywords)) > _MAX_KEYWORD_CHARS:
            raise BadAnswerError(f"a keyword is longer than {_MAX_KEYWORD_CHARS} characters")
        return keywords
    raise BadAnswerError(problem)
