import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.errors import DataError
from tsrec.sid.space import SidSpace, format_sid, format_token, parse_token

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=8).map(tuple)


def test_a_sid_is_spelled_as_in_the_literature() -> None:
    assert format_sid((12, 200, 7)) == "<a_12><b_200><c_7>"


@given(st.integers(0, 25), st.integers(0, 100_000))
def test_a_token_reads_back(level: int, code: int) -> None:
    assert parse_token(format_token(level, code)) == (level, code)


@pytest.mark.parametrize("text", ["", "a_1", "<a_1", "<A_1>", "<a_>", "<a_-1>", "<a_1> ", "<a_1><b_2>", "<aa_1>"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="not a SID token; expected the form <a_12>"):
        parse_token(text)


@given(SIZES)
def test_flat_order_is_level_by_level_code_by_code(sizes: tuple[int, ...]) -> None:
    space = SidSpace(sizes)
    tokens = space.tokens()
    assert len(tokens) == len(set(tokens)) == space.n_tokens
    for flat, token in enumerate(tokens):
        level, code = parse_token(token)
        assert space.offsets[level] + code == flat and code < sizes[level]


@given(SIZES, st.data())
def test_the_smallest_space_that_holds_given_codes(sizes: tuple[int, ...], data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.tuples(*(st.integers(0, size - 1) for size in sizes)), min_size=1, max_size=20))
    space = SidSpace.from_codes(codes)
    assert space.n_levels == len(sizes)
    assert all(max(sid[level] for sid in codes) == space.sizes[level] - 1 for level in range(space.n_levels))


def test_codes_of_different_lengths_are_no_space() -> None:
    with pytest.raises(ValueError, match="shorter"):
        SidSpace.from_codes([(1, 2), (1,)])
