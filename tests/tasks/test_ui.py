"""Showing something in the UI never fails a stage."""

import logging

import httpx
import pytest

from tasks.publishing import show_in_ui


@pytest.mark.parametrize("error", [httpx.ConnectError("All connection attempts failed"), ValueError("bad key")])
def test_what_cannot_be_shown_is_logged_and_not_raised(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def publish(what: str) -> None:
        raise error

    with caplog.at_level(logging.WARNING, "tsrec"):
        show_in_ui(publish, "metrics")
    assert str(error) in caplog.text and "not shown in the UI" in caplog.text


def test_what_can_be_shown_is_shown() -> None:
    shown: list[str] = []
    show_in_ui(shown.append, "metrics")
    assert shown == ["metrics"]
