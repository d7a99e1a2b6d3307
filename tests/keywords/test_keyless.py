import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tsrec.config import KeywordsConfig
from tsrec.keywords.keyless import KeylessTeacher


def draw(catalogue: pd.DataFrame, **settings: int) -> list[list[str]]:
    config = KeywordsConfig.model_validate(settings)
    return KeylessTeacher(catalogue, config).draw(catalogue).keywords


def catalogue_of(texts: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"item_id": [f"i{n}" for n in range(len(texts))], "title": texts, "text": texts})


def test_keywords_say_what_sets_an_item_apart() -> None:
    kinds = ["wood glue", "steel hammer", "copper wire", "paper towel", "oil filter"]
    texts = [f"Acme {kinds[n % 5]} for the home, size {n} x {n + 3}" for n in range(40)]
    keywords = draw(catalogue_of(texts), max_keywords=3)
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
    teacher = KeylessTeacher(items, KeywordsConfig())
    whole = teacher.draw(items).keywords
    assert teacher.draw(items[2:4]).keywords == whole[2:4]
    assert KeylessTeacher(items, KeywordsConfig()).draw(items).keywords == whole


def test_the_longest_keyword_is_bounded(items: pd.DataFrame) -> None:
    assert max(len(word.split()) for words in draw(items, max_ngram=1) for word in words) == 1


def test_an_item_without_usable_words_gets_its_title_or_id() -> None:
    catalogue = pd.DataFrame(
        {"item_id": ["a", "b", "c", "d"], "title": ["The Who", "2001", "", "Glue"], "text": ["", "1 2 3", "!", "glue"]}
    )
    assert draw(catalogue) == [["the", "who"], ["2001"], ["c"], ["glue"]]
    assert draw(catalogue[:3]) == [["the", "who"], ["2001"], ["c"]]  # no text of any item holds a word


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=15))
def test_every_item_has_keywords_whatever_its_text(texts: list[str]) -> None:
    keywords = draw(catalogue_of(texts), max_keywords=4)
    assert len(keywords) == len(texts)
    assert all(1 <= len(words) <= 4 and all(word.strip() for word in words) for words in keywords)
