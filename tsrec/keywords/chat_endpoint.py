"""Asking an OpenAI-compatible endpoint as it is: what it does not accept is left out, and remembered for the run.

The client retries 429, 5xx and time-outs with exponential back-off. An error inside a 200 is given its status before
the client sees it. Where the endpoint says how long to wait (`Retry-After`), no request is sent before. Knows nothing
of items and keywords.
"""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import openai

from tsrec.config import OpenAIConfig
from tsrec.errors import TeacherError
from tsrec.keywords.endpoint_answers import (
    NO_ANSWER,
    Completion,
    EndpointError,
    masked_excerpt,
    read_completion,
    retry_after_s,
    status_of,
)
from tsrec.permissions import TEACHER_URLS, teacher_endpoint

logger = logging.getLogger(__name__)

Chat = list[dict[str, str]]

# How an answer's form can be asked for, the strictest first.
_FORMS = ("json_schema with lengths", "json_schema", "json_object", "plain_text")
_PLAIN_SCHEMA = _FORMS.index("json_schema")
_LENGTHS = ("minItems", "maxItems", "minLength", "maxLength")
_REFUSED_FORM = (400, 415, 422, 501)
# These will not get better by asking for the next item.
_HOPELESS = (301, 302, 303, 307, 308, 401, 402, 403, 404, 405)
_ABOUT_FORM = ("response_format", "json_schema", "json_object", "schema", "structured", "guided", "grammar")
_ABOUT_ITEM = ("context length", "context_length", "maximum context", "too long", "content_filter", "content filter")
_BUSY = (429, 503)
_HEADERS = ("host", "content-length", "content-type", "accept", "accept-encoding", "connection", "user-agent")
_LONG_WAIT_S = 60.0  # that a person is told of
_LONGEST_WAIT_S = 3600.0  # for an endpoint that says when to ask again; it may be the next day
_RAW = "x-stainless-raw-response"  # by which the client knows its own raw requests


@dataclass(frozen=True)
class _Way:
    """How requests are made: in which form, and whether with a temperature."""

    form: int = 0
    has_temperature: bool = True


class ChatEndpoint:
    """One endpoint and how it wants to be asked.

    Raises:
        ConfigError, TeacherError: see `permissions.teacher_endpoint`.
    """

    def __init__(self, settings: OpenAIConfig, schema: dict[str, Any]) -> None:
        self.settings = settings
        self.endpoint = teacher_endpoint(settings.base_url)
        self.url = self.endpoint.url
        self._schema = schema
        self._way = _Way()
        self._has_answered = False
        self._not_before = 0.0  # by `time.monotonic`

    def client(self) -> openai.AsyncOpenAI:
        """A client for one event loop. It sends nothing of the environment but the key, and follows no redirect."""
        hooks: dict[str, Any] = {
            "request": [self._wait, self._strip],
            "response": [_give_errors_their_status, self._note_when_to_ask_again],
        }
        http = openai.DefaultAsyncHttpxClient(follow_redirects=False, event_hooks=hooks)
        return openai.AsyncOpenAI(
            api_key=self.endpoint.key or "none",  # the client insists on some key
            base_url=self.url,
            timeout=self.settings.timeout_s,
            max_retries=self.settings.max_retries,
            http_client=http,
        )

    async def complete(self, client: openai.AsyncOpenAI, chat: Chat, usage: Counter[str]) -> Completion:
        """One answer; tokens and what happened on the way are counted in `usage`.

        Raises:
            EndpointError: the endpoint refuses or fails on this chat.
            TeacherError: it would do so on every other, or cannot be reached.
        """
        while True:
            way = self._way
            try:
                completion = await self._send(client, chat, way, usage)
            except EndpointError as error:
                self._stop_if_hopeless(error)
                if not self._adapt(way, error):
                    raise
                usage["n_refused_requests"] += 1
                continue
            self._has_answered = True
            self._count(way, completion, usage)
            return completion

    def describe(self, error: EndpointError) -> str:
        """Status and reason for people, the key masked."""
        words = f"{error.code}: {error.reason}" if error.code else error.reason
        return f"{error.status} {masked_excerpt(words, self.endpoint.key)}"

    async def _send(self, client: openai.AsyncOpenAI, chat: Chat, way: _Way, usage: Counter[str]) -> Completion:
        extra: dict[str, Any] = {"temperature": self.settings.temperature} if way.has_temperature else {}
        form = _FORMS[way.form]
        if way.form <= _PLAIN_SCHEMA:
            schema = _without_lengths(self._schema) if way.form == _PLAIN_SCHEMA else self._schema
            extra["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif form == "json_object":
            extra["response_format"] = {"type": form}
        typed_chat: Any = chat  # the client's own types list every kind of message
        try:
            raw = await client.chat.completions.with_raw_response.create(
                model=self.settings.model, messages=typed_chat, **extra
            )
        except openai.APIStatusError as error:
            raise EndpointError(error.status_code, error.response.text) from None
        except openai.APITimeoutError:
            raise EndpointError(408, f"no answer within {self.settings.timeout_s:g} s") from None
        except openai.APIConnectionError:
            raise TeacherError(f"{self.url} cannot be reached; run again when it can: shards are kept") from None
        except openai.OpenAIError as error:
            raise EndpointError(500, str(error)) from None
        usage["n_waits"] += raw.retries_taken
        return read_completion(raw.http_response.text)

    def _adapt(self, way: _Way, error: EndpointError) -> bool:
        """Leave out what the endpoint may have refused; False where nothing is left, or the chat itself is refused."""
        if error.status not in _REFUSED_FORM or any(word in error.words for word in _ABOUT_ITEM):
            return False
        if way != self._way:  # another request has found out meanwhile
            return True
        if way.has_temperature and "temperature" in error.words:
            self._way = _Way(way.form, has_temperature=False)
            what = "a temperature"
        elif way.form + 1 < len(_FORMS) and (not self._has_answered or any(w in error.words for w in _ABOUT_FORM)):
            self._way = _Way(way.form + 1, way.has_temperature)
            what = f"response_format {_FORMS[way.form]}"
        else:
            if not self._has_answered:
                self._way = _Way()  # nothing was learned: it was not the form
            return False
        logger.warning("teacher: %s refuses %s, going on without: %s", self.url, what, self.describe(error))
        return True

    def _stop_if_hopeless(self, error: EndpointError) -> None:
        settings = self.settings
        if error.status == NO_ANSWER and not self._has_answered:
            raise TeacherError(
                f"{self.url} answers, but not as a chat endpoint: {masked_excerpt(error.reason, self.endpoint.key)!r}; "
                f"keywords.openai.base_url usually ends in /v1"
            ) from None
        if (wait_s := self._not_before - time.monotonic()) > _LONGEST_WAIT_S:
            raise TeacherError(
                f"{self.url} wants to be asked again in {wait_s / 3600:.1f} hours ({self.describe(error)}); run again "
                "then: finished shards are kept"
            ) from None
        if error.status in _HOPELESS or error.is_out_of_money:
            raise TeacherError(
                f"{self.url} refused ({self.describe(error)}); check keywords.openai.model ({settings.model}), "
                f"keywords.openai.base_url (an address in {TEACHER_URLS}, without redirects), and the key in the "
                f"environment variable {self.endpoint.key_variable}"
            ) from None

    def _count(self, way: _Way, completion: Completion, usage: Counter[str]) -> None:
        usage["n_answers"] += 1
        usage["n_answers_without_schema"] += way.form > _PLAIN_SCHEMA
        usage["n_answers_without_temperature"] += not way.has_temperature
        usage["n_cut_answers"] += completion.is_cut
        usage["n_answers_without_usage"] += completion.input_tokens is None or completion.output_tokens is None
        usage["input_tokens"] += completion.input_tokens or 0
        usage["output_tokens"] += completion.output_tokens or 0

    async def _wait(self, _: Any) -> None:
        """Other requests wait as well: the endpoint would refuse them, and their questions would be given up."""
        while (wait_s := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)

    async def _note_when_to_ask_again(self, response: Any) -> None:
        """Have the next requests wait as long as an endpoint that has too much to do says, however long that is.

        The client would give up, or come earlier, where it is told more than it deems reasonable.
        """
        if response.status_code not in _BUSY or not (wait_s := retry_after_s(response.headers)):
            return
        for name in ("retry-after", "retry-after-ms"):
            response.headers.pop(name, None)
        self._not_before = max(self._not_before, time.monotonic() + wait_s)
        if wait_s > _LONGEST_WAIT_S:
            response.headers["x-should-retry"] = "false"
        elif wait_s > _LONG_WAIT_S:
            logger.warning("teacher: %s wants to be asked again in %.0f s; waiting", self.url, wait_s)

    async def _strip(self, request: Any) -> None:
        """The client adds what it finds in OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS ...; no run was asked about those."""
        for name in [name for name in request.headers if name.lower() not in (*_HEADERS, _RAW)]:
            del request.headers[name]
        request.headers["authorization"] = f"Bearer {self.endpoint.key or 'none'}"


async def _give_errors_their_status(response: Any) -> None:
    """The client then waits for an overload inside a 200, or for a proxy that sends a page, as for any other. It does
    not wait for money."""
    await response.aread()
    if response.is_success and (status := status_of(response.text)) != 200:
        response.status_code = status
    if response.is_error and EndpointError(response.status_code, response.text).is_out_of_money:
        response.headers["x-should-retry"] = "false"


def _without_lengths(schema: Any) -> Any:
    """A schema that says nothing of how long lists and texts are, which not every endpoint takes."""
    if not isinstance(schema, dict):
        return schema
    return {name: _without_lengths(value) for name, value in schema.items() if name not in _LENGTHS}


def new_usage() -> Counter[str]:
    """Counters that begin at 0, so that a manifest also says what did not happen."""
    names = (
        "input_tokens",
        "output_tokens",
        "n_answers",
        "n_answers_without_schema",
        "n_answers_without_temperature",
        "n_answers_without_usage",
        "n_cut_answers",
        "n_bad_answers",
        "n_keywords_cut",
        "n_refused_requests",
        "n_waits",
    )
    return Counter(dict.fromkeys(names, 0))
