"""Words in any script: marks stay with their letters, and scripts without blanks are cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.keywords.word_segmentation import split_pieces, split_words, without_inner_blanks

# The pattern that English catalogues were read with before other scripts were: it still says what an English word is.
_ENGLISH = re.compile(r"(?u)\b[^\W\d_]{2,}(?:['-][^\W\d_]+)*\b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3M wood-glue, mp3-Player foo_bar 10mm x2", ["wood-glue", "player"]),
        ("men’s and men's", ["men's", "and", "men's"]),
        ("l'eau d’orange", ["eau", "orange"]),
        ("café", ["café"]),  # e and a combining accent
        ("Größe Straße", ["größe", "straße"]),
        ("स्टेनलेस स्टील की बोतल", ["स्टेनलेस", "स्टील", "की", "बोतल"]),
        ("زُجَاجَةُ مَاءٍ", ["زُجَاجَةُ", "مَاءٍ"]),
        ("می‌خواهم", ["می‌خواهم"]),  # one word, its parts not joined
        ("தமிழ் நாடு", ["தமிழ்", "நாடு"]),
        ("컵 물병", ["컵", "물병"]),
        ("不锈钢保温杯", ["不锈钢", "保温", "杯"]),
        ("T恤 USB充电器 500毫升", ["恤", "usb", "充电", "器", "毫升"]),
        ("ステンレスの水筒を持ち運び", ["ステンレス", "水筒", "持ち運び"]),
        ("コーヒーメーカー", ["コーヒー", "メーカー"]),
        ("ความเย็น", ["ความ", "เย็น"]),
        ("ទឹកដែក", ["ទឹក", "ដែក"]),
        ("2001 — ½ m² !", []),
    ],
)
def test_words_of_many_scripts(text: str, expected: list[str]) -> None:
    assert list(split_words(text)) == expected


@given(st.text(alphabet="abcXYZ013_-'. ,/", max_size=60))
def test_english_words_are_what_they_were(text: str) -> None:
    assert list(split_words(text)) == _ENGLISH.findall(text.lower())


@given(st.text(max_size=60))
def test_words_of_any_text_are_letters_alone(text: str) -> None:
    for word in split_words(text):
        assert word.strip() == word and not any(map(str.isdecimal, word))


def test_a_phrase_is_written_as_its_script_is() -> None:
    assert without_inner_blanks("保温 杯") == "保温杯"
    assert without_inner_blanks("steel 保温 杯 cup") == "steel 保温杯 cup"
    assert without_inner_blanks("wood glue") == "wood glue"


def test_pieces_are_all_that_is_not_a_sign() -> None:
    assert list(split_pieces("MP3 x 10,000 – A!")) == ["mp3", "x", "10,000", "a"]
    assert list(split_pieces("— !?")) == []


@pytest.mark.parametrize(
    "address",
    [
        "https://m.media-amazon.com/images/I/71xYz_hammer.jpg",
        "HTTP://img.shop.example/a/b.JPG?width=300&format=webp",
        "//cdn.shop.example/img/photo.png",
        "img.shop.example/w_300/photo.jpeg",
        "https://img.shop.example/w_300,c_fill/photo.jpeg",
        "IMG-photo.webp",
        "www.shop.example/steel",
        "s3://bucket/img",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==",
    ],
)
def test_addresses_and_names_of_image_files_hold_no_words(address: str) -> None:
    assert list(split_words(f"steel hammer {address} for nails")) == ["steel", "hammer", "for", "nails"]
    assert list(split_words(f"[steel hammer]({address}), nails")) == ["steel", "hammer", "nails"]
    assert list(split_words(f"红色{address}手套")) == ["红色", "手套"]
    assert list(split_pieces(address)) == []


def test_what_only_looks_like_an_address_keeps_its_words() -> None:
    assert list(split_words("and/or node.js, e.g. 3.5/4 inch: w.w.w. jpg image; gif.")) == [
        "and", "or", "node", "js", "inch", "jpg", "image", "gif",
    ]  # fmt: skip


def test_a_long_run_of_characters_is_gone_through_once() -> None:
    """Else this would take hours."""
    assert list(split_words("a.b-" * 50_000)) == []
