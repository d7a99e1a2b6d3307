"""The keyless teacher: what it calls an item, in any script, and that every item has a keyword."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsrec.keywords.keyless import KeylessTeacher


def draw(catalogue: pd.DataFrame) -> list[list[str]]:
    return KeylessTeacher(catalogue).draw(catalogue).keywords


def catalogue_of(texts: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"item_id": [f"i{n}" for n in range(len(texts))], "title": texts, "text": texts})


def test_keywords_say_what_sets_an_item_apart() -> None:
    kinds = ["wood glue", "steel hammer", "copper wire", "paper towel", "oil filter"]
    texts = [f"Acme {kinds[n % 5]} for the home, size {n} x {n + 3}" for n in range(40)]
    keywords = draw(catalogue_of(texts))
    assert keywords[0][0] in ("acme wood", "wood glue", "glue home")
    assert keywords[1][0] in ("acme steel", "steel hammer", "hammer home")
    assert not any(character.isdigit() for words in keywords for word in words for character in word)
    assert not any(word.split()[0] in ("for", "the") for words in keywords for word in words)


def test_no_keyword_repeats_the_words_of_another(items: pd.DataFrame) -> None:
    for words in draw(items):
        parts = [set(word.split()) for word in words]
        assert not any(a <= b for i, a in enumerate(parts) for j, b in enumerate(parts) if i != j)


def test_terms_of_single_items_do_not_count_in_a_large_catalogue() -> None:
    texts = [f"wood glue code{chr(97 + n % 26)}{chr(97 + n // 26)}x" for n in range(60)]
    assert draw(catalogue_of(texts)) == [["glue", "wood"]] * 60


def test_a_shard_gets_the_same_keywords_as_the_whole(items: pd.DataFrame) -> None:
    teacher = KeylessTeacher(items)
    whole = teacher.draw(items).keywords
    assert teacher.draw(items[2:4]).keywords == whole[2:4]
    assert KeylessTeacher(items).draw(items).keywords == whole


def test_the_longest_keyword_has_two_words(items: pd.DataFrame) -> None:
    assert max(len(word.split()) for words in draw(items) for word in words) == 2


def test_an_item_without_usable_words_gets_its_title_or_id() -> None:
    catalogue = pd.DataFrame(
        {"item_id": ["a", "b", "c", "d"], "title": ["The Who", "2001", "", "Glue"], "text": ["", "1 2 3", "!", "glue"]}
    )
    assert draw(catalogue) == [["the", "who"], ["2001"], ["c"], ["glue"]]
    assert draw(catalogue[:3]) == [["the", "who"], ["2001"], ["c"]]  # no text of any item holds a word


@pytest.mark.parametrize(
    "titles",
    [
        ["不锈钢保温杯大容量便携水杯", "不锈钢电热水壶大容量", "便携咖啡杯不锈钢", "大容量便携水壶"],
        ["ステンレス製の水筒を大容量で", "ステンレス製のマグカップ", "大容量の水筒です", "持ち運びやすい水筒"],
        ["แก้วน้ำเก็บความเย็น", "ขวดน้ำเก็บความเย็น", "แก้วน้ำสำหรับเด็ก", "ขวดน้ำสำหรับเด็ก"],
    ],
)
def test_no_whole_title_is_a_keyword_where_words_have_no_blanks(titles: list[str]) -> None:
    for title, keywords in zip(titles, draw(catalogue_of(titles)), strict=True):
        assert keywords and all(len(keyword) < len(title) and " " not in keyword for keyword in keywords)


def test_words_keep_their_combining_marks() -> None:
    texts = ["स्टील की बोतल", "स्टील का गिलास", "पानी की बोतल", "पानी का गिलास"]
    assert draw(catalogue_of(texts))[0] == ["स्टील बोतल"]  # without की and का


def test_articles_go_with_their_apostrophe() -> None:
    texts = ["Colori dell'acqua per il bagno", "Filtri dell'acqua per la casa", "La luce per la casa", "Il bagno"]
    keywords = {word for words in draw(catalogue_of(texts)) for keyword in words for word in keyword.split()}
    assert "acqua" in keywords and not any("dell" in word for word in keywords)


def test_keywords_that_no_other_item_shares_are_counted() -> None:
    texts = [*["wood glue"] * 30, "Zyx", "2001", "!"]
    drawn = KeylessTeacher(catalogue_of(texts)).draw(catalogue_of(texts))
    assert drawn.keywords[-3:] == [["zyx"], ["2001"], ["i32"]]
    assert drawn.usage == {"n_from_title": 2, "n_from_id": 1}


@settings(max_examples=40)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=15))
def test_every_item_has_keywords_whatever_its_text(texts: list[str]) -> None:
    keywords = draw(catalogue_of(texts))
    assert len(keywords) == len(texts)
    assert all(1 <= len(words) <= 10 and all(word.strip() for word in words) for words in keywords)
