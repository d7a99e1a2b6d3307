"""Which languages a catalogue is written in, as far as their stop words show, and which words say nothing in them.

A language shows in a text by its stop words: those of the `stopwordsiso` lists, English by the shorter list that the
keyless teacher always leaves out. A text without stop words (most titles) is of no clear language, and need not be.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache

import stopwordsiso
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

UNCLEAR = "unclear"
_MIN_SHARE = 0.05
# Settles texts whose stop words are those of several languages, by how common a language is on the web.
_COMMON = "en es de ja fr pt ru it nl pl tr fa zh vi id cs ko uk ar el he sv ro hu th da sk fi bg hr no lt hi bn ms"
_LAST_LATIN = "\u024f"
# Romanian's own letters, which its list spells as older keyboards did.
_COMMA_BELOW = str.maketrans("şţ", "șț")


def find_languages(texts: Iterable[Iterable[str]]) -> tuple[Counter[str], frozenset[str]]:
    """Look for the languages of a catalogue.

    Args:
        texts: each item's text as words in lower case.

    Returns:
        How many items are of each language (ISO 639-1), or `UNCLEAR`; and the stop words of English and of every
        language that is more than an exception.
    """
    languages_of = _languages_of_words()
    listed = [frozenset(word for word in text if word in languages_of) for text in texts]
    in_english = _english_vocabulary(listed)
    n_items: Counter[str] = Counter()
    shown_by: dict[str, set[frozenset[str]]] = defaultdict(set)
    for evidence in (text - in_english for text in listed):
        language = _language_of(evidence)
        n_items[language] += 1
        shown_by[language].add(evidence)
    shown_by.pop(UNCLEAR, None)
    # One set of words that returns in item after item is a formula, such as a category's name: it counts once.
    enough = _MIN_SHARE * sum(map(len, shown_by.values()))
    chosen = [_lists()[language] for language, evidence in shown_by.items() if len(evidence) >= enough]
    return n_items, _lists()["en"].union(*chosen)


def _english_vocabulary(listed: list[frozenset[str]]) -> set[str]:
    """Stop words of other languages that are English words here: "Skin Care, Face" is Romanian by its letters.

    They are about as frequent in the texts that English stop words mark as they are anywhere.
    """
    english = [text for text in listed if _language_of(text) == "en"]
    in_english, anywhere = (Counter(word for text in texts for word in text) for texts in (english, listed))
    return {
        word
        for word, count in in_english.items()
        if word not in _lists()["en"] and 2 * count * len(listed) >= anywhere[word] * len(english)
    }


def _language_of(stop_words: frozenset[str]) -> str:
    """The language with most of these stop words; where several have as many, the one that shares fewer with others.

    A single one in Latin letters is chance or a borrowed name: "is" and "an" stand in many lists.
    """
    counts: Counter[str] = Counter()
    scores: dict[str, float] = defaultdict(float)
    for word in sorted(stop_words):  # sums of fractions depend on the order
        languages = _languages_of_words()[word]
        for language in languages:
            scores[language] += 1 / len(languages)
            counts[language] += 1 if word <= _LAST_LATIN else 2
    winner = min(counts, key=lambda language: (-counts[language], -scores[language], _rank(language)), default=UNCLEAR)
    return winner if counts[winner] >= 2 else UNCLEAR


def _rank(language: str) -> tuple[int, str]:
    place = _COMMON.find(language)
    return (place if place >= 0 else len(_COMMON), language)


@cache
def _lists() -> dict[str, frozenset[str]]:
    lists = {language: frozenset(stopwordsiso.stopwords(language)) for language in sorted(stopwordsiso.langs())}
    romanian = lists["ro"].union(word.translate(_COMMA_BELOW) for word in lists["ro"])
    return lists | {"en": ENGLISH_STOP_WORDS, "ro": romanian}


@cache
def _languages_of_words() -> dict[str, tuple[str, ...]]:
    languages: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for language, words in _lists().items():
        for word in words:
            languages[word] += (language,)
    return dict(languages)
