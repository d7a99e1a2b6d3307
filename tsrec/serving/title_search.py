"""Items by the words of their titles: all words, in any letter case and with or without accents.

The last word may be the beginning of one, as when somebody is still typing. Made once per model; a search then costs
what it finds. Knows titles and their popularity, nothing of models.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import regex

from tsrec.serving.prefix_range import prefix_range

# Scripts without blanks between words: each character is a word.
_BLANKLESS = r"\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"(?V1)[{_BLANKLESS}]|[\p{{L}}\p{{N}}--[{_BLANKLESS}]]+")


class TitleSearch:
    """An index of N texts; `popularity` (N,) decides among equally good ones, the larger the better."""

    def __init__(self, texts: Sequence[str], popularity: np.ndarray) -> None:
        words = [_words(text) for text in texts]
        self._words = sorted(set().union(*words))  # (V,)
        number = {word: place for place, word in enumerate(self._words)}
        lengths = np.array([len(own) for own in words], dtype=np.int64)
        flat = np.array([number[word] for own in words for word in own], dtype=np.int64)
        pairs = np.unique(flat * max(len(words), 1) + np.repeat(np.arange(len(words)), lengths))
        self._holders = pairs % max(len(words), 1)  # the texts of word 0, those of word 1 ...
        self._ends = np.searchsorted(pairs, np.arange(len(self._words) + 1) * max(len(words), 1))
        self._lengths = lengths
        self._first = np.array([number[own[0]] if own else -1 for own in words], dtype=np.int64)
        self._by_popularity = np.argsort(-popularity, kind="stable")
        self._place = np.empty(len(words), dtype=np.int64)  # of each text in that order
        self._place[self._by_popularity] = np.arange(len(words))

    def find(self, query: str) -> np.ndarray:
        """(M,) numbers of the texts that have all words of `query`; all texts where it has none.

        In front are those that are the query, then those that begin with it, then those that have its last word whole.
        """
        words = _words(query)
        if not words:
            return self._by_popularity
        *whole, last = words
        low, high = prefix_range(last, len(self._words), self._words.__getitem__)
        found = np.unique(self._of_words(low, high))
        for word in whole:
            found = np.intersect1d(found, self._of_word(word), assume_unique=True)
        ends_whole = np.isin(found, self._of_word(last), assume_unique=True)
        first = bisect_left(self._words, words[0])
        begins = (self._first[found] >= first) & (self._first[found] < (high if len(words) == 1 else first + 1))
        is_query = begins & ends_whole & (self._lengths[found] == len(words))
        return found[np.lexsort((self._place[found], ~ends_whole, ~begins, ~is_query))]

    def _of_word(self, word: str) -> np.ndarray:
        place = bisect_left(self._words, word)
        there = place < len(self._words) and self._words[place] == word
        return self._of_words(place, place + there)

    def _of_words(self, low: int, high: int) -> np.ndarray:
        """The texts of the words from `low` to before `high`; one that has several of them stands there as often."""
        return self._holders[self._ends[low] : self._ends[high]]


def _words(text: str) -> list[str]:
    text = text.casefold()
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold()
    return _WORD.findall(text)
