"""Item clusters in a teacher LLM's own words, made of the cluster's keywords and its nearest items' titles."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from tsrec.config import OpenAIConfig
from tsrec.keywords.asking import Asker, BadAnswerError, Question, plain, problem_of
from tsrec.keywords.chat_endpoint import new_usage
from tsrec.keywords.endpoint_answers import Completion, json_objects
from tsrec.keywords.paid_answers import PaidAnswers
from tsrec.keywords.prompt import DESCRIBE, ClusterAnswer, cluster_messages, cluster_schema

_MAX_CHARS = 1000


@dataclass(frozen=True)
class ClusterInWords:
    """What the teacher is told of a cluster: its `token` or beginning of a SID; keywords and titles, best first."""

    token: str
    keywords: tuple[str, ...]
    titles: tuple[str, ...]


class Describer:
    """Asks the endpoint for each cluster. What the file `paid` holds is not asked again, and answers are kept there.

    Raises:
        ConfigError, TeacherError: the endpoint must not be asked, or there is no key for it (see `permissions`).
    """

    def __init__(self, settings: OpenAIConfig, paid: Path) -> None:
        self.asker = Asker(settings, cluster_schema(), "clusters")
        self.paid = PaidAnswers(paid, (self.asker.endpoint.url, settings.model, settings.temperature, DESCRIBE))

    def describe(self, clusters: Sequence[ClusterInWords]) -> tuple[list[str | None], Counter[str]]:
        """A description of each, None where the teacher failed for good; and what it took.

        Raises:
            TeacherError: the endpoint refuses key or model, cannot be reached, or fails on every one of the clusters.
        """
        usage = new_usage()
        known = [self.paid.get(_content(cluster)) for cluster in clusters]
        asked = [cluster for cluster, answer in zip(clusters, known, strict=True) if answer is None]
        questions = [self._question(cluster) for cluster in asked]
        answers = iter(self.asker.ask(questions, usage) if questions else [])
        usage["n_answers_known"] = len(clusters) - len(asked)
        return [answer[0] if answer else next(answers) for answer in known], usage

    def _question(self, cluster: ClusterInWords) -> Question[str]:
        told = {"name": cluster.token, "keywords": cluster.keywords, "titles": cluster.titles}
        return Question(f"cluster {cluster.token}", partial(cluster_messages, told), partial(self._read, cluster))

    def _read(self, cluster: ClusterInWords, completion: Completion) -> str:
        description = _checked(completion, cluster.token)
        self.paid.put(_content(cluster), [description])
        return description


def _content(cluster: ClusterInWords) -> str:
    """What an answer is about: the same items under another token need no other description."""
    return "\n".join([", ".join(cluster.keywords), *cluster.titles])


def _checked(completion: Completion, token: str) -> str:
    """The description of an answer, on one line. Raises BadAnswerError where it is of another form."""
    problem = problem_of(completion)
    for value in json_objects(completion.text):
        try:
            answer = ClusterAnswer.model_validate(value)
        except ValidationError:
            continue
        if answer.name != token:
            problem = "its name is another one"
            continue
        description = plain(answer.description)
        if not description:
            raise BadAnswerError("its description is empty")
        if len(description) > _MAX_CHARS:
            raise BadAnswerError(f"its description is longer than {_MAX_CHARS} characters")
        return description
    raise BadAnswerError(problem)
