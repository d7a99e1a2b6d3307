"""What endpoints really answer: no field is trusted to be there, or to have its documented type.

Works on the text of one HTTP answer. Knows nothing of items, of requests, or of what to do about a problem.
"""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import regex

_MAX_SHOWN_CHARS = 300
_MAX_READ_CHARS = 2000  # of an error that is to be shown
_KEY_PART_CHARS = 6  # so many characters in a row of a key are not shown
_MAX_DEPTH = 8
_TAG = r"(?:<{0}(?:think|thinking|thought|reasoning)>|\[{0}THINK\])"
_THOUGHTS_BEFORE = regex.compile(rf"(?is).*{_TAG.format('/')}")  # some leave the opening tag out
_THOUGHTS = regex.compile(rf"(?is){_TAG.format('')}.*")  # and some are cut off while thinking
_LAST_COMMA = regex.compile(r",(?=\s*[}\]])")
NO_ANSWER = 590
"""The status of a 200 whose body is no JSON, such as the page of a proxy. No server sends it itself."""
# An error inside a 200 often has words where a status would stand.
_STATUS_OF_WORDS = (
    (401, "api[ _]?key|unauthorized|authentication"),
    (404, "model_not_found|model not found|no such model"),
    (429, "rate[ _]?limit|overload|quota|too many|capacity|busy|queue|throttl|exhausted"),
    (503, "loading|unavailable|timeout|timed out|try again|internal|server[ _]error"),
)
_OUT_OF_MONEY = ("insufficient_quota", "insufficient balance", "insufficient_balance", "billing")


class EndpointError(Exception):
    """An endpoint's refusal or failure: an HTTP status (its own, or what its words come to) and its own reason."""

    def __init__(self, status: int, body: str) -> None:
        value = _parsed(body)
        error = _error_in(value) if value is not None else body
        self.status = status
        self.code = _text(error.get("code") or error.get("type")) if isinstance(error, dict) else ""
        self.reason = _reason(error) or body
        parameter = _text(error.get("param")) if isinstance(error, dict) else ""
        # Not the whole body: some endpoints repeat the request in it.
        self.words = f"{self.code} {parameter} {self.reason}".lower()
        super().__init__(self.reason)

    @property
    def is_out_of_money(self) -> bool:
        """Whether waiting does not help though the status may say so."""
        return self.status in (402, 403, 429) and any(word in self.words for word in _OUT_OF_MONEY)


@dataclass(frozen=True)
class Completion:
    """What a model said ("" for nothing), and what it cost where the endpoint says so."""

    text: str
    is_cut: bool = False  # by a limit of length
    is_filtered: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None


def status_of(body: str) -> int:
    """The HTTP status that the body of a 200 stands for.

    200 for a completion, `NO_ANSWER` for what is no JSON, and for an error the status that it names, or that its words
    come to, or else 400.
    """
    value = _parsed(body)
    if value is None:
        return NO_ANSWER
    error = _error_in(value)
    if isinstance(value, dict) and "choices" in value and error is value:
        return 200
    for name in ("status", "code", "status_code", "http_code"):
        named = _text(error.get(name)) if isinstance(error, dict) else ""
        if named[:3].isdecimal() and 400 <= int(named[:3]) < 600:  # 42901 is a 429
            return int(named[:3])
    words = json.dumps(error, ensure_ascii=False).lower()
    return next((status for status, signs in _STATUS_OF_WORDS if regex.search(signs, words)), 400)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds until the endpoint wants to be asked again, by the headers of an answer; 0 where they do not say.

    The value is seconds or a date (RFC 9110, section 10.2.3). OpenAI's servers also say milliseconds.
    """
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name, "")
        try:
            seconds = float(value) / per_second
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return 0.0


def read_completion(body: str) -> Completion:
    """Read a chat completion, the body of an answer whose `status_of` is 200."""
    value = json.loads(body)
    choice, usage = _first_choice(value), value.get("usage")
    finish = choice.get("finish_reason")
    usage = usage if isinstance(usage, dict) else {}
    return Completion(
        text=_text_of(choice.get("message")) or _text_of(choice.get("text")),
        is_cut=finish in ("length", "max_tokens"),
        is_filtered=finish == "content_filter",
        input_tokens=_count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        output_tokens=_count(usage.get("completion_tokens", usage.get("output_tokens"))),
    )


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand in a text, the last first: answers are wrapped in Markdown and in sentences.

    Reasoning between tags does not count; objects inside objects do. A comma behind the last entry does no harm.
    """
    said = _THOUGHTS.sub("", _THOUGHTS_BEFORE.sub("", text))
    decoder = json.JSONDecoder(strict=False)  # line breaks inside strings are read
    for reading in dict.fromkeys((said, _LAST_COMMA.sub("", said))):  # as it is, then as it was meant
        starts = [match.start() for match in regex.finditer(r"\{", reading)]
        for start in reversed(starts[-200:]):  # an answer is short; a text of braces would take for ever
            with contextlib.suppress(ValueError, RecursionError):
                yield decoder.raw_decode(reading, start)[0]


def masked_excerpt(text: str, key: str) -> str:
    """An endpoint's words as a message may repeat them: one short line, the key and what looks like one masked."""
    text = regex.sub(r"(?is)<(script|style).*?</\1>|<[^>]*>", " ", text[:_MAX_READ_CHARS])
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    # Also a part of the key: some endpoints repeat its beginning and its end.
    parts = {regex.escape(key[at : at + _KEY_PART_CHARS]) for at in range(len(key) - _KEY_PART_CHARS + 1)}
    if parts or key:
        secret = rf"\S*(?:{'|'.join(sorted(parts))})\S*" if parts else rf"\b{regex.escape(key)}\b"
        text = regex.sub(secret, "***", text)
    text = regex.sub(r"\S*\*{3,}\S*|\b(?:sk|pk|gsk|hf|xai)[-_][\w-]{8,}|(?i:\bbearer)\s+\S+", "***", text)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."


def _parsed(body: str) -> Any:
    """The JSON value, or None."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _first_choice(completion: dict[str, Any]) -> dict[str, Any]:
    choices = completion.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _error_in(value: Any) -> Any:
    """The error that an answer holds, or is."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return value
    return value.get("error") or _first_choice(value).get("error") or value


def _reason(error: Any, depth: int = _MAX_DEPTH) -> str:
    """The words of an error of any form: a string, OpenAI's object, FastAPI's list of problems ..."""
    if depth == 0:
        return ""
    if isinstance(error, list):
        return "; ".join(filter(None, (_reason(part, depth - 1) for part in error[:5])))
    if isinstance(error, dict):
        for name in ("message", "msg", "detail", "error", "errors", "reason"):
            if error.get(name):
                where = ".".join(map(_text, error["loc"])) if isinstance(error.get("loc"), list) else ""
                return ": ".join(filter(None, [where, _reason(error[name], depth - 1)]))
        return json.dumps(error, ensure_ascii=False)
    return _text(error)


def _text_of(message: Any, depth: int = _MAX_DEPTH) -> str:
    """The text of a message, a content, or a list of parts. Reasoning only where there is nothing else."""
    if isinstance(message, str):
        return message
    if isinstance(message, list) and depth:
        return "".join(_text_of(part, depth - 1) for part in message)
    if isinstance(message, dict) and depth:
        if "keywords" in message:  # the object itself, instead of its text
            return json.dumps(message)
        for name in ("content", "text", "value", "reasoning_content", "reasoning"):
            if text := _text_of(message.get(name), depth - 1):
                return text
    return ""


def _count(value: Any) -> int | None:
    """A number of tokens, also as a string or a float; None for anything else."""
    try:
        count = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return count if count >= 0 and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    return "" if value is None else str(value)
