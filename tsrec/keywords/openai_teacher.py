"""A teacher LLM behind any OpenAI-compatible endpoint: keywords of items, and descriptions of item clusters.

How often it is asked, and what stops the stage: see `asking`. Where the endpoint fails altogether, the next run resumes
at that shard.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig, OpenAIConfig
from tsrec.keywords.asking import Asker, BadAnswerError, Question, one_line, read_object
from tsrec.keywords.chat_endpoint import new_usage
from tsrec.keywords.endpoint_answers import Completion
from tsrec.keywords.prompt import (
    DESCRIBE,
    MAX_DESCRIPTION_CHARS,
    MAX_KEYWORD_CHARS,
    SYSTEM,
    Answer,
    ClusterAnswer,
    chat_about,
    schema_of,
)
from tsrec.keywords.teacher import FALLBACK_SOURCE, MAX_KEYWORDS, ItemKeywords, Teacher


class OpenAITeacher:
    """Asks the endpoint for each item, `concurrency` at once.

    Args:
        config: the endpoint, and how it is asked.
        fallback: draws for items that fail, which are counted.
        paid: the file of answers that were paid for; None: they are not kept.

    Raises:
        ConfigError, TeacherError: the endpoint must not be asked, or there is no key for it (see `permissions`).
    """

    def __init__(self, config: KeywordsConfig, fallback: Teacher, paid: Path | None = None) -> None:
        self.config, self.fallback = config, fallback
        self.asker = Asker(config.openai, schema_of("keywords", Answer), "items", (SYSTEM, MAX_KEYWORDS), paid)

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
        data = {"item_id": item[C.ITEM], "text": item[C.TEXT]}
        chat = partial(chat_about, data, SYSTEM.format(most=MAX_KEYWORDS))
        return Question(f"item {item[C.ITEM]}", item[C.TEXT], chat, partial(_read_keywords, item[C.ITEM]))


@dataclass(frozen=True)
class Cluster:
    """The `n_items` items of a SID `token` of `level`. The teacher is told its keywords and titles, best first."""

    token: str
    level: int
    n_items: int
    keywords: tuple[str, ...]
    titles: tuple[str, ...]


class Describer:
    """Asks the endpoint for a description of each cluster, in its own words.

    Args:
        settings: the endpoint, and how it is asked.
        paid: the file of answers that were paid for.

    Raises:
        ConfigError, TeacherError: the endpoint must not be asked, or there is no key for it (see `permissions`).
    """

    def __init__(self, settings: OpenAIConfig, paid: Path) -> None:
        self.asker = Asker(settings, schema_of("description", ClusterAnswer), "clusters", (DESCRIBE,), paid)

    def describe(self, clusters: Sequence[Cluster]) -> tuple[list[str | None], Counter[str]]:
        """A description of each, None where the teacher failed for good; and what it took.

        Raises:
            TeacherError: the endpoint refuses key or model, cannot be reached, or fails on every one of the clusters.
        """
        usage = new_usage()
        usage["n_answers_known"] = 0
        answers = self.asker.ask([self._question(cluster) for cluster in clusters], usage)
        return [answer[0] if answer else None for answer in answers], usage

    @staticmethod
    def _question(cluster: Cluster) -> Question:
        data = {"name": cluster.token, "keywords": cluster.keywords, "titles": cluster.titles}
        # The same items under another token need no other description.
        text = "\n".join([", ".join(cluster.keywords), *cluster.titles])
        chat, read = partial(chat_about, data, DESCRIBE), partial(_read_description, cluster.token)
        return Question(f"cluster {cluster.token}", text, chat, read)


def _read_keywords(item_id: str, completion: Completion) -> list[str]:
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


def _read_description(token: str, completion: Completion) -> list[str]:
    """The description of an answer, on one line. Raises BadAnswerError where it is of another form."""
    description = one_line(read_object(completion, ClusterAnswer, "name", token).description)
    if not description:
        raise BadAnswerError("its description is empty")
    if len(description) > MAX_DESCRIPTION_CHARS:
        raise BadAnswerError(f"its description is longer than {MAX_DESCRIPTION_CHARS} characters")
    return [description]
