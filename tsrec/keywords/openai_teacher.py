"""A teacher LLM behind any OpenAI-compatible endpoint.

How often it is asked, and what ends it all: see `asking`. A single item that fails gets the keyless keywords, marked as
such and counted. Where the endpoint fails altogether, the next run resumes at that shard.
"""

from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig
from tsrec.keywords.asking import Asker, BadAnswerError, Question, one_line, read_object
from tsrec.keywords.endpoint_answers import Completion
from tsrec.keywords.prompt import MAX_KEYWORD_CHARS, SYSTEM, Answer, answer_schema, messages
from tsrec.keywords.teacher import FALLBACK_SOURCE, MAX_KEYWORDS, ItemKeywords, Teacher


class OpenAITeacher:
    """Asks the endpoint for each item, `concurrency` at once; `fallback` draws for items that fail.

    What the file `paid` holds is not asked again, and what is answered is kept there.

    Raises:
        ConfigError, TeacherError: the endpoint must not be asked, or there is no key for it (see `permissions`).
    """

    def __init__(self, config: KeywordsConfig, fallback: Teacher, paid: Path | None = None) -> None:
        self.config, self.fallback = config, fallback
        self.asker = Asker(config.openai, answer_schema(), "items", (SYSTEM, MAX_KEYWORDS), paid)

    def draw(self, items: pd.DataFrame) -> ItemKeywords:
        """Keywords for a shard of items.

        Raises:
            TeacherError: the endpoint refuses key or model, cannot be reached, or fails on every one of the items.
        """
        usage = Counter[str]()
        answers = self.asker.ask([self._question(item) for _, item in items.iterrows()], usage)
        keywords = [(answer or [])[:MAX_KEYWORDS] for answer in answers]
        if n_cut := sum(max(0, len(answer or []) - MAX_KEYWORDS) for answer in answers):
            usage["n_keywords_cut"] += n_cut
        sources = [f"openai:{self.config.openai.model}"] * len(items)
        if failed := [index for index, words in enumerate(keywords) if not words]:
            stand_in = self.fallback.draw(items.iloc[failed])
            usage.update(stand_in.usage)
            for index, words in zip(failed, stand_in.keywords, strict=True):
                keywords[index], sources[index] = words, FALLBACK_SOURCE
        return ItemKeywords(keywords, sources, dict(usage))

    @staticmethod
    def _question(item: pd.Series) -> Question:
        return Question(f"item {item[C.ITEM]}", item[C.TEXT], partial(messages, item), partial(_read, item[C.ITEM]))


def _read(item_id: str, completion: Completion) -> list[str]:
    """The keywords of an answer, in lower case, each once, without the item's id, which small models list too.

    Raises:
        BadAnswerError: it is of another form.
    """
    answer = read_object(completion, Answer, "item_id", item_id)
    words = dict.fromkeys(one_line(word.lower()) for word in answer.keywords)
    keywords = [word for word in words if word not in ("", item_id.lower())]
    if not keywords:
        raise BadAnswerError("it lists no keywords")
    if max(map(len, keywords)) > MAX_KEYWORD_CHARS:
        raise BadAnswerError(f"a keyword is longer than {MAX_KEYWORD_CHARS} characters")
    if len(keywords) > MAX_KEYWORDS:
        raise BadAnswerError(f"it lists {len(keywords)} keywords, more than {MAX_KEYWORDS}", keywords)
    return keywords
