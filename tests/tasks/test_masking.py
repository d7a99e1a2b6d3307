"""What errors say is masked where Prefect writes it down: in states, those of refused parameters too."""

import time
import traceback
from typing import Any

import cloudpickle
import pytest
from prefect.exceptions import ParameterTypeError
from pydantic import BaseModel, ValidationError, field_validator

from flows.tsrec_flow import tsrec_flow
from tasks.masking import masked, masked_errors
from tsrec.errors import ConfigError

ADDRESS, SHOWN = "s3://me:secret@host/bucket", "s3://***@host/bucket"


class Place(BaseModel):
    address: str

    @field_validator("address")
    @classmethod
    def _refuse(cls, address: str) -> str:
        raise ValueError(f"{address} is nowhere")


@tsrec_flow("tiny", run_name="tiny")
def tiny(place: Place) -> None:
    """Never gets as far as its body by `validate_parameters`; its body alone raises."""
    raise ConfigError(f"{ADDRESS}: no such place")


def test_an_error_says_what_it_said_but_for_secrets() -> None:
    with pytest.raises(ConfigError) as raised, masked_errors():
        try:
            raise OSError(f"cannot read {ADDRESS}")
        except OSError as error:
            raise ConfigError(f"{ADDRESS}: no such place") from error
    assert str(raised.value) == f"{SHOWN}: no such place"
    assert "secret" not in "".join(traceback.format_exception_only(raised.value.__cause__))
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(2, "No such file", ADDRESS), KeyError(ADDRESS), ConnectionError(f"{ADDRESS}?token=secret")],
)
def test_errors_of_libraries_keep_no_secret_either(error: Exception) -> None:
    with pytest.raises(Exception) as raised, masked_errors():
        raise error
    assert "secret" not in str(raised.value) and SHOWN in str(raised.value)


def test_one_whose_words_cannot_be_changed_is_told_in_others() -> None:
    with pytest.raises(RuntimeError, match=r"^ValidationError: 1 validation error") as raised, masked_errors():
        Place(address=ADDRESS)
    assert "secret" not in str(raised.value)
    with pytest.raises(ValidationError, match="secret"):  # as it is without
        Place(address=ADDRESS)


def test_a_flow_can_be_sent_to_the_workers_of_a_cluster() -> None:
    assert cloudpickle.loads(cloudpickle.dumps(tiny)).name == "tiny"


def test_a_flow_that_refuses_its_parameters_and_one_that_fails_keep_no_secret() -> None:
    given: dict[str, Any] = {"place": {"address": ADDRESS}}
    with pytest.raises(ParameterTypeError, match="nowhere") as refused:
        tiny.validate_parameters(given)
    with pytest.raises(ConfigError, match="no such place") as failed:
        tiny.fn(Place.model_construct(address=ADDRESS))
    for raised in (refused, failed):
        assert "secret" not in str(raised.value) and SHOWN in str(raised.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:se@cret@host/x", "https://***@host/x"),
        ("s3://KEY:sec/ret+x@bucket/y", "s3://***@bucket/y"),
        ("postgresql+asyncpg://me:sec'ret@host/db", "postgresql+asyncpg://***@host/db"),
        ("x://me@host?sig=secret", "x://***@host?***"),
        ("http://host:4200/flow-runs/a@b", "http://host:4200/flow-runs/a@b"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
    ],
)
def test_secrets_are_masked_whatever_they_hold(address: str, shown: str) -> None:
    assert masked(f"{address} failed; see {address}.") == f"{shown} failed; see {shown}".rstrip("*") + (
        "***" if shown.endswith("*") else "."
    )


@pytest.mark.parametrize("text", ["a" * 300_000, "a://" * 80_000, "a://b:c" * 40_000, "a://b?" * 50_000])
def test_long_texts_are_masked_at_once(text: str) -> None:
    """Whoever fills a form in chooses what is logged of it."""
    began = time.monotonic()
    masked(text)
    assert time.monotonic() - began < 5
