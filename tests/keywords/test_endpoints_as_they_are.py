"""What OpenAI-compatible endpoints answer in the wild, over real HTTP: no traceback, few wasted requests, counts."""

import json
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.errors import TeacherError
from tsrec.keywords.endpoint_answers import (
    NO_ANSWER,
    EndpointError,
    json_objects,
    masked_excerpt,
    read_completion,
    retry_after_s,
    status_of,
)

from .conftest import KEY, ChatServer, Reply, answer, draw, said

pytestmark = pytest.mark.usefixtures("allowed")
GLUE = said("i0", "glue")
_NAMES = st.sampled_from(["choices", "message", "content", "error", "usage", "code", "detail", "loc", "text", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(_NAMES, inner),
    max_leaves=20,
)


def without(*forms: str, status: int = 400, **fields: Any) -> Callable[[dict[str, Any]], Reply | None]:
    """Refuses requests for these forms of answer."""

    def refuse(request: dict[str, Any]) -> Reply | None:
        form = request.get("response_format", {}).get("type", "none")
        return Reply(status, **fields) if form in forms else None

    return refuse


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("refused", "n_refused"), [(("json_schema",), 2), (("json_schema", "json_object"), 3), (("json_schema", "x"), 2)]
)
def test_a_refused_form_is_left_out_for_the_rest_of_the_run(
    server: ChatServer, items: pd.DataFrame, status: int, refused: tuple[str, ...], n_refused: int
) -> None:
    server.refuse = without(*refused, status=status, body={"detail": "something about the request"})
    drawn = draw(server, items)
    assert drawn.sources == ["openai:tiny"] * 6
    assert len(server.requests) == 6 + n_refused
    assert drawn.usage["n_refused_requests"] == n_refused
    assert drawn.usage["n_answers_without_schema"] == drawn.usage["n_answers"] == 6


def test_a_schema_is_asked_for_without_lengths_where_those_are_refused(
    server: ChatServer, items: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(request: dict[str, Any]) -> Reply | None:
        error = {"message": "Invalid schema for response_format 'keywords': 'maxLength' is not permitted."}
        return Reply(400, body={"error": error}) if "maxLength" in json.dumps(request) else None

    server.refuse = refuse
    drawn = draw(server, items)
    assert drawn.sources == ["openai:tiny"] * 6 and len(server.requests) == 7
    assert drawn.usage["n_refused_requests"] == 1 and drawn.usage["n_answers_without_schema"] == 0
    schema = server.requests[-1]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["keywords"] == {"title": "Keywords", "type": "array", "items": {"type": "string"}}
    assert "refuses response_format json_schema with lengths" in caplog.text


def test_the_reason_is_said_with_the_key_masked(
    server: ChatServer, items: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    problem = {"loc": ["body", "response_format"], "msg": f"Extra inputs, {KEY}", "input": {"temperature": 0}}
    server.refuse = without("json_schema", status=422, body={"detail": [problem]})
    draw(server, items)
    assert "refuses response_format json_schema" in caplog.text
    assert "422 body.response_format: Extra inputs, ***" in caplog.text
    assert KEY not in caplog.text and "temperature" not in caplog.text


def test_a_refused_temperature_is_left_out(server: ChatServer, items: pd.DataFrame) -> None:
    error = {"message": "Unsupported value", "param": "temperature", "code": "unsupported_value"}
    server.refuse = lambda request: Reply(400, body={"error": error}) if "temperature" in request else None
    drawn = draw(server, items)
    assert drawn.sources == ["openai:tiny"] * 6 and len(server.requests) == 7
    assert drawn.usage["n_answers_without_temperature"] == 6 and drawn.usage["n_answers_without_schema"] == 0
    assert "json_schema" in json.dumps(server.requests[-1])


def test_an_item_that_is_too_long_changes_nothing_for_the_others(server: ChatServer, items: pd.DataFrame) -> None:
    too_long = Reply(400, body={"message": "This model's maximum context length is 8 tokens", "object": "error"})
    server.always = lambda item: too_long if item == "i0" else None
    drawn = draw(server, items)
    assert drawn.sources == ["keyless-fallback"] + ["openai:tiny"] * 5
    assert server.asked["i0"] == 1 and drawn.usage["n_answers_without_schema"] == 0


@pytest.mark.parametrize(
    "content",
    [
        f'<think>{{"item_id": "i0", "keywords": ["draft"]}} no, {{that}} is wrong</think>\n{GLUE}',
        f"thinking without a tag before it </think> {GLUE}",
        f"[THINK]hm {{[/THINK]{GLUE}",
        f"```json\n{GLUE}\n```",
        f"Here you are:\n{GLUE}\nI hope that {{helps}}! Do you want {{more}}?",
        f"Of the form {{item_id, keywords}}: {GLUE}",
        [{"type": "text", "text": GLUE[:20]}, {"type": "text", "text": GLUE[20:]}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": GLUE}],
        [GLUE],
        {"type": "text", "text": {"value": GLUE}},
        json.loads(GLUE),
        json.dumps({"answer": json.loads(GLUE)}),
        json.dumps([json.loads(GLUE)]),
        json.dumps(json.loads(GLUE) | {"confidence": 0.9}),
        GLUE.replace("glue", "glue\n"),
        GLUE.replace("]}", ",\n],}"),
    ],
)
def test_an_answer_is_read_however_it_is_wrapped(server: ChatServer, items: pd.DataFrame, content: Any) -> None:
    server.script["i0"] = [Reply(content=content)]
    drawn = draw(server, items[:1])
    assert drawn.keywords == [["glue"]] and len(server.requests) == 1


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": None, "reasoning_content": GLUE}},
        {"message": GLUE},
        {"message": None, "text": GLUE},
        {"message": {"content": GLUE}, "finish_reason": ["?"]},
        {"message": {"content": GLUE}, "finish_reason": "length"},  # cut, but whole
    ],
)
def test_an_answer_is_found_wherever_it_stands(server: ChatServer, items: pd.DataFrame, choice: dict[str, Any]) -> None:
    server.script["i0"] = [Reply(choice=choice)]
    assert draw(server, items[:1]).keywords == [["glue"]] and len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": None},
        {"choices": {"message": "?"}},
        {"choices": ["?"]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": None}}], "usage": None},
        {"choices": [{"message": {"content": [None, 7, {"type": "image"}]}}], "usage": "many"},
        {"choices": [{"message": {"content": None, "refusal": "I cannot"}}], "usage": {"prompt_tokens": "x"}},
        {"choices": [{"message": {"content": "<think>cut while thinking"}, "finish_reason": "length"}]},
    ],
)
def test_an_answer_with_nothing_in_it_is_asked_again(server: ChatServer, items: pd.DataFrame, body: Any) -> None:
    server.script["i0"] = [Reply(body=body)]
    drawn = draw(server, items[:1])
    assert drawn.keywords == [["word of i0"]] and server.asked == {"i0": 2}
    assert drawn.usage["n_bad_answers"] == 1 and drawn.usage["n_answers_without_usage"] == 1
    assert drawn.usage["input_tokens"] == 100


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": "100", "completion_tokens": 10.0}, (100, 10, 0)),
        ({"input_tokens": 100, "output_tokens": 10}, (100, 10, 0)),
        ({"prompt_tokens": 100}, (100, 0, 1)),
        ({"prompt_tokens": None, "completion_tokens": -1}, (0, 0, 1)),
        ({"prompt_tokens": [1], "completion_tokens": True}, (0, 0, 1)),
        ([], (0, 0, 1)),
        (None, (0, 0, 1)),
    ],
)
def test_tokens_are_counted_where_they_are_told(
    server: ChatServer, items: pd.DataFrame, usage: Any, counted: tuple[int, int, int]
) -> None:
    server.script["i0"] = [Reply(content=GLUE, usage=usage)]
    told = draw(server, items[:1]).usage
    assert (told["input_tokens"], told["output_tokens"], told["n_answers_without_usage"]) == counted


def test_an_answer_that_is_cut_again_is_not_asked_a_third_time(server: ChatServer, items: pd.DataFrame) -> None:
    cut = Reply(content='{"item_id": "i1", "keywords": ["gl', choice={"finish_reason": "length"})
    server.always = lambda item: cut if item == "i1" else None
    drawn = draw(server, items[:3])
    assert server.asked == {"i0": 1, "i1": 2, "i2": 1} and drawn.usage["n_cut_answers"] == 2
    assert drawn.sources[1] == "keyless-fallback"
    assert "cut off" in [r for r in server.requests if "i1" in json.dumps(r)][-1]["messages"][0]["content"]


def test_what_a_filter_stopped_is_not_asked_again(server: ChatServer, items: pd.DataFrame) -> None:
    stopped = Reply(content="", choice={"finish_reason": "content_filter"})
    server.always = lambda item: stopped if item == "i1" else None
    assert draw(server, items[:3]).sources[1] == "keyless-fallback" and server.asked["i1"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 429, "message": "slow down"}},
        {"error": {"code": "42901", "message": "slow down"}},
        {"error": {"code": "rate_limit_exceeded"}},
        {"error": "Model is overloaded"},
        {"object": "error", "message": "Too many requests", "code": None},
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}],
        {"choices": [{"error": {"code": 503, "message": "provider is down"}, "message": None}]},
        {"error": "The model is currently loading", "estimated_time": 1.5},
        "<html><body><h1>502 Bad Gateway</h1></body></html>",
        "",
        "data: {}",
    ],
)
def test_an_overload_inside_a_200_waits(server: ChatServer, items: pd.DataFrame, body: Any) -> None:
    server.script["i1"] = [Reply(body=body, headers={"Retry-After": "0.3"})]
    drawn = draw(server, items[:2])
    assert drawn.sources == ["openai:tiny"] * 2 and drawn.usage["n_waits"] == 1
    assert server.times[2] - server.times[1] >= 0.3
    assert drawn.usage["n_bad_answers"] == 0


@pytest.mark.parametrize(
    ("body", "said_"),
    [
        ({"error": {"code": 401, "message": f"Incorrect API key: {KEY[:9]}****{KEY[-6:]}"}}, "refused (401.*key: ***"),
        ({"error": {"code": "model_not_found", "message": "no model tiny"}}, "refused (404.*no model tiny"),
        ({"error": {"code": 429, "type": "insufficient_quota"}}, "refused (429.*insufficient_quota"),
        ("<html><title>Open WebUI</title><script>x</script></html>", "not as a chat endpoint: 'Open WebUI'.*/v1"),
    ],
)
def test_what_no_other_item_will_cure_stops_the_stage(
    server: ChatServer, items: pd.DataFrame, body: Any, said_: str
) -> None:
    server.always = lambda _: Reply(body=body)
    pattern = said_.replace("(", r"\(").replace("***", r"\*\*\*")
    with pytest.raises(TeacherError, match=pattern) as error:
        draw(server, items, max_retries=1)
    assert len(server.requests) <= 2
    assert KEY[:6] not in str(error.value) and KEY[-6:] not in str(error.value)


@pytest.mark.parametrize("reply", [Reply(204, body=""), Reply(202, body="<p>Later</p>"), Reply(201, body={"id": 1})])
def test_other_successes_without_an_answer_cost_one_item(server: ChatServer, items: pd.DataFrame, reply: Reply) -> None:
    server.always = lambda item: reply if item == "i3" else None
    drawn = draw(server, items, max_retries=0)
    assert [source == "openai:tiny" for source in drawn.sources] == [True, True, True, False, True, True]


def test_a_failure_of_a_proxy_is_not_taken_for_a_wrong_address(server: ChatServer, items: pd.DataFrame) -> None:
    server.script["i0"] = [Reply(520, body="<p>Unknown error</p>")]
    drawn = draw(server, items, max_retries=0, concurrency=1)
    assert [source == "openai:tiny" for source in drawn.sources] == [False, True, True, True, True, True]


@pytest.mark.parametrize("status", [200, 429])
def test_money_is_not_waited_for(server: ChatServer, items: pd.DataFrame, status: int) -> None:
    server.always = lambda _: Reply(status, body={"error": {"code": 429, "type": "insufficient_quota"}})
    with pytest.raises(TeacherError, match="insufficient_quota"):
        draw(server, items[:1], max_retries=1)
    assert len(server.requests) == 1


def test_a_page_in_the_midst_of_a_run_costs_one_item(server: ChatServer, items: pd.DataFrame) -> None:
    server.always = lambda item: Reply(body="<p>Sorry</p>") if item == "i3" else None
    drawn = draw(server, items, max_retries=1)
    assert [source == "openai:tiny" for source in drawn.sources] == [True, True, True, False, True, True]
    assert server.asked["i3"] == 2


def test_control_characters_of_an_answer_do_not_reach_a_terminal(server: ChatServer, items: pd.DataFrame) -> None:
    server.script["i0"] = [answer("i0", "\u001b[31mred\u202e", "می‌خواهم", "half \ud83d")]
    assert draw(server, items[:1]).keywords == [["[31mred", "می‌خواهم", "half"]]


def test_a_long_or_coloured_reason_is_one_short_line() -> None:
    line = masked_excerpt("\u001b[31m" + "word\n" * 1000, KEY)
    assert len(line) <= 303 and line.isprintable()
    assert masked_excerpt("Bearer abc, sk-proj-12345678 and abc****xyz", "") == "*** *** and ***"
    assert masked_excerpt("no key x here", "x") == "no key *** here"


@given(JSON)
def test_no_json_is_a_traceback(value: Any) -> None:
    for body in (json.dumps(value), json.dumps({"choices": value, "usage": value}), json.dumps({"error": value})):
        status = status_of(body)
        assert status == 200 or 400 <= status < 600
        assert isinstance(read_completion(body).text if status == 200 else EndpointError(status, body).reason, str)


@given(st.text(alphabet='{}[]":,a1 \\<think/>', max_size=80))
def test_no_text_is_a_traceback(text: str) -> None:
    assert all(isinstance(value, dict) for value in json_objects(text))


def test_a_text_of_braces_does_not_take_for_ever() -> None:
    assert list(json_objects('{"a":' * 100_000)) == []
    assert status_of("[" * 100_000) == NO_ANSWER


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "-1"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "7", "retry-after-ms": "?"}, 7),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_when_to_ask_again_is_read_however_it_is_said(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_s(headers) == seconds


def test_when_to_ask_again_may_be_a_date() -> None:
    assert retry_after_s({"retry-after": formatdate(time.time() + 600, usegmt=True)}) == pytest.approx(600, abs=30)
