"""Item clusters in a teacher LLM's own words, made of the cluster's keywords and its nearest items' titles."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tsrec.config import OpenAIConfig
from tsrec.keywords.asking import Asker, BadAnswerError, Question, one_line, read_object
from tsrec.keywords.chat_endpoint import new_usage
from tsrec.keywords.endpoint_answers import Completion
from tsrec.keywords.prompt import DESCRIBE, MAX_DESCRIPTION_CHARS, ClusterAnswer, cluster_messages, cluster_schema


@dataclass(frozen=True)
class ClusterPrompt:
    """What the teacher is told of a cluster: its `token`; keywords and titles, best first."""

    token: str
    keywords: tuple[str, ...]
    titles: tuple[str, ...]


class Describer:
    """Asks the endpoint for each cluster. What the file `paid` holds is not asked again, and answers are kept there.

    Raises:
        ConfigError, TeacherError: the endpoint must not be asked, or there is no key for it (see `permissions`).
    """

    def __init__(self, settings: OpenAIConfig, paid: Path) -> None:
        self.asker = Asker(settings, cluster_schema(), "clusters", (DESCRIBE,), paid)

    def describe(self, clusters: Sequence[ClusterPrompt]) -> tuple[list[str | None], Counter[str]]:
        """A description of each, None where the teacher failed for good; and what it took.

        Raises:
            TeacherError: the endpoint refuses key or model, cannot be reached, or fails on every one of the clusters.
        """
        usage = new_usage()
        usage["n_answers_known"] = 0
        answers = self.asker.ask([_question(cluster) for cluster in clusters], usage)
        return [answer[0] if answer else None for answer in answers], usage


def _question(cluster: ClusterPrompt) -> Question:
    data = {"name": cluster.token, "keywords": cluster.keywords, "titles": cluster.titles}
    # The same items under another token need no other description.
    text = "\n".join([", ".join(cluster.keywords), *cluster.titles])
    return Question(f"cluster {cluster.token}", text, partial(cluster_messages, data), partial(_read, cluster.token))


def _read(token: str, completion: Completion) -> list[str]:
    """The description of an answer, on one line. Raises BadAnswerError where it is of another form."""
    description = one_line(read_object(completion, ClusterAnswer, "name", token).description)
    if not description:
        raise BadAnswerError("its description is empty")
    if len(description) > MAX_DESCRIPTION_CHARS:
        raise BadAnswerError(f"its description is longer than {MAX_DESCRIPTION_CHARS} characters")
    return [description]
