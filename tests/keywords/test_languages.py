"""Which languages a catalogue shows, and the stop words that follow."""

import pytest

from tsrec.keywords.languages import find_languages
from tsrec.keywords.word_segmentation import split_words

GERMAN = ["Der Leim für die Möbel", "Eine Lampe, die nicht blendet", "Der Hammer liegt gut in der Hand"]
SPANISH = [
    "El martillo de acero para la mano",
    "Una lámpara que no deslumbra",
    "Los tornillos son para usar en las casas",
]
ENGLISH = ["Glue for the furniture", "A lamp that does not dazzle, with a dimmer", "The hammer sits well in the hand"]


@pytest.mark.parametrize(
    ("language", "texts", "said"),
    [
        ("de", GERMAN, {"der", "die", "für", "eine", "nicht"}),
        ("es", SPANISH, {"el", "la", "para", "que", "los"}),
        ("fr", ["Colle pour les meubles et les sols", "Une lampe qui tient dans la main"], {"les", "et", "qui"}),
        ("ru", ["Клей для мебели и полов", "Лампа, которая не слепит"], {"для", "и", "не"}),
        ("hi", ["घर के लिए स्टील के पेंच", "लकड़ी का गोंद"], {"के", "का", "लिए"}),
        ("ar", ["مطرقة من الفولاذ في اليد", "مصباح لا يبهر"], {"من", "في"}),
        ("ko", ["강철 망치 그리고 손잡이", "가구 및 바닥 용"], {"그리고", "및"}),
        ("th", ["กาวสำหรับไม้และพื้น", "ค้อนที่ดีในมือ"], {"และ", "ที่"}),
        ("ro", ["Adeziv pentru lemn și podele", "O lampă care nu orbește"], {"și", "pentru"}),
    ],
)
def test_a_language_shows_by_its_stop_words(language: str, texts: list[str], said: set[str]) -> None:
    n_items, stop_words = find_languages(split_words(text) for text in texts)
    assert n_items.most_common(1)[0][0] == language
    assert said <= stop_words


def test_every_language_of_a_mixed_catalogue_counts() -> None:
    n_items, stop_words = find_languages(split_words(text) for text in GERMAN + SPANISH + ENGLISH)
    assert {language: n_items[language] for language in ("de", "es", "en")} == {"de": 3, "es": 3, "en": 3}
    assert {"der", "para", "the"} <= stop_words


def test_an_english_catalogue_keeps_words_that_other_languages_do_not_count() -> None:
    categories = [f"Beauty, Skin Care, Face, {kind}" for kind in ("Creams", "Toners", "Masks", "Oils")]
    described = [f"{text}. A cream for the face that you will like, with care" for text in categories]
    n_items, stop_words = find_languages(split_words(text) for text in categories * 20 + described)
    assert set(n_items) == {"en", "unclear"}
    assert not {"care", "face"} & stop_words  # both are Romanian


def test_exceptions_do_not_make_a_language() -> None:
    french = ["Crème de la mer pour le visage"]
    english = [f"{text} {word}" for text in ENGLISH for word in ("and", "of", "to", "by", "on", "so", "if", "at", "or")]
    n_items, stop_words = find_languages(split_words(text) for text in english + french)
    assert n_items["fr"] == 1 and "pour" not in stop_words


def test_no_text_no_language() -> None:
    n_items, stop_words = find_languages([[], []])
    assert dict(n_items) == {"unclear": 2} and "the" in stop_words
