"""The keyless teacher: words and short phrases that an item stresses and few others have (TF-IDF). Deterministic."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig
from tsrec.keywords.teacher import Drawn

# Letters only: sizes, years and part numbers tell items apart but do not say what they are.
_WORD = r"(?u)\b[^\W\d_]{2,}(?:['-][^\W\d_]+)*\b"
_UNITS = "cm diameter feet foot ft gallon gram grams height id inch inches kg lb lbs length ml mm od oz pcs width"
_STOP_WORDS = sorted(ENGLISH_STOP_WORDS.union(_UNITS.split(), ["ll", "ve"]))
# A term of very few items cannot describe what the items of a cluster share.
_MIN_ITEMS = 3


class KeylessTeacher:
    """TF-IDF over the word n-grams of the whole catalogue.

    An item's score of a term is its weight in the text plus its weight in the title: the title says what an item
    is, the description what it is like. Where no term is shared with other items, the title's own words stand in.
    """

    def __init__(self, catalogue: pd.DataFrame, config: KeywordsConfig) -> None:
        self.config = config
        self.vectorizer: TfidfVectorizer | None = TfidfVectorizer(
            token_pattern=_WORD,
            stop_words=_STOP_WORDS,
            ngram_range=(1, config.max_ngram),
            sublinear_tf=True,
            min_df=min(_MIN_ITEMS, max(1, len(catalogue) // 10)),  # ten items can hardly share anything
        )
        try:
            self.vectorizer.fit(catalogue[C.TEXT])
        except ValueError:  # no text holds a word that counts
            self.vectorizer = None
        else:
            self.terms = self.vectorizer.get_feature_names_out()

    def draw(self, items: pd.DataFrame) -> Drawn:
        """The best terms of each item, best first; equal ones in the order of the alphabet."""
        titles = list(items[C.TITLE])
        if self.vectorizer is None:
            best: list[list[str]] = [[] for _ in titles]
        else:
            weights = self.vectorizer.transform(items[C.TEXT]) + self.vectorizer.transform(titles)
            best = [self._best(weights[[row]]) for row in range(len(items))]
        most = self.config.max_keywords
        keywords = [
            terms or _words_of(title)[:most] or [item]
            for terms, title, item in zip(best, titles, items[C.ITEM], strict=True)
        ]
        return Drawn(keywords, ["keyless"] * len(items))

    def _best(self, weights: sparse.csr_matrix) -> list[str]:
        order = np.lexsort((weights.indices, -weights.data))  # terms are numbered in the order of the alphabet
        return _without_overlap((str(self.terms[term]) for term in weights.indices[order]), self.config.max_keywords)


def _words_of(title: str) -> list[str]:
    """The title's words in lower case, each once, or all of it where it has none ("2001")."""
    return list(dict.fromkeys(re.findall(_WORD, title.lower()))) or title.lower().split()


def _without_overlap(terms: Iterable[str], most: int) -> list[str]:
    """The first `most` terms, leaving out those that contain, or are contained in, one already taken."""
    chosen: list[str] = []
    for term in terms:
        words = set(term.split())
        if not any(words <= set(other.split()) or words >= set(other.split()) for other in chosen):
            chosen.append(term)
        if len(chosen) == most:
            break
    return chosen
