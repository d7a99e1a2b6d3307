"""SID tokens in a tokenizer: numbered alike by whoever writes and whoever reads; what opens and closes a sequence."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tsrec.errors import ArtifactError, ConfigError
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import (
    HistoryTokens,
    add_sid_tokens,
    closing_token,
    first_sid_id,
    opening_token,
    sid_token_ids,
    without_sid_tokens,
)

SPACE = SidSpace((3, 2))


@pytest.fixture
def tokenizer(tiny_backbone: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_backbone)


def test_what_is_written_is_read_again(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    first = add_sid_tokens(tokenizer, SPACE)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert first_sid_id(again, SPACE, tmp_path) == first
    ids = sid_token_ids(first, SPACE, np.array([[2, 1], [0, 0]], dtype=np.int16))
    assert again.convert_ids_to_tokens(ids.ravel().tolist()) == ["<a_2>", "<b_1>", "<a_0>", "<b_0>"]


def test_what_was_appended_can_be_taken_off_again(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    text = "<a_0><b_1> steel screws </s>"
    before, ids = tokenizer.get_vocab(), tokenizer(text).input_ids
    assert without_sid_tokens(tokenizer) is tokenizer
    add_sid_tokens(tokenizer, SPACE)
    assert tokenizer(text).input_ids != ids
    tokenizer.save_pretrained(tmp_path)
    for extended in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        cut = without_sid_tokens(extended)
        assert cut.get_vocab() == before and cut(text).input_ids == ids
        assert (cut.bos_token_id, cut.eos_token_id, cut.pad_token_id) == (0, 1, 2)
        assert add_sid_tokens(cut, SidSpace((2, 5))) == len(before)  # another catalogue's, from the same place


def test_a_tokenizer_that_holds_sid_tokens_is_no_backbone(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.add_tokens(["<b_0>"], special_tokens=True)
    with pytest.raises(ArtifactError, match="already holds SID tokens"):
        add_sid_tokens(tokenizer, SPACE)


def test_a_history_is_written_as_the_tokenizer_has_it(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    first = add_sid_tokens(tokenizer, SPACE)
    tokenizer.save_pretrained(tmp_path)
    tokens = HistoryTokens.from_tokenizer(
        AutoTokenizer.from_pretrained(tmp_path), SPACE, first, np.array([[2, 1], [0, 0]])
    )
    written = tokenizer.convert_ids_to_tokens(tokens.prompt(np.array([1, 0, 1])).tolist())
    item = [["<a_0>", "<b_0>"], ["<a_2>", "<b_1>"]]
    assert written == [tokenizer.bos_token, *item[0], *item[1], *item[0]]
    assert tokens.prompt(np.array([], dtype=np.int64)).tolist() == [tokenizer.bos_token_id]


@pytest.mark.parametrize("held", [[], ["<a_0>"], ["<b_0>", "<a_0>", "<a_1>", "<a_2>", "<b_1>"]])
def test_missing_or_misplaced_sid_tokens_are_refused(tokenizer: PreTrainedTokenizerBase, held: list[str]) -> None:
    tokenizer.add_tokens(held, special_tokens=True)
    with pytest.raises(ArtifactError, match="here: the tokenizer lacks the SID tokens"):
        first_sid_id(tokenizer, SPACE, "here")


def test_a_tokenizer_of_another_code_book_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    add_sid_tokens(tokenizer, SidSpace((2, 2)))
    with pytest.raises(ArtifactError, match="run finetune again"):
        first_sid_id(tokenizer, SPACE, "here")


@pytest.mark.parametrize(("missing", "opening", "closing"), [(None, 0, 1), ("bos_token", 1, 1), ("eos_token", 0, 0)])
def test_one_special_token_opens_and_closes(
    tokenizer: PreTrainedTokenizerBase, missing: str | None, opening: int, closing: int
) -> None:
    if missing:
        setattr(tokenizer, missing, None)
    assert (opening_token(tokenizer), closing_token(tokenizer)) == (opening, closing)


def test_no_special_token_at_all_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(ConfigError, match=r"backbone\.model: its tokenizer has neither a BOS nor an EOS token"):
        opening_token(tokenizer)
