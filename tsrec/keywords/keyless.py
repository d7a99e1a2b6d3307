"""The keyless teacher: words and short phrases that an item stresses and few others have (TF-IDF). Deterministic."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from tsrec.columns import Columns as C
from tsrec.keywords.languages import find_languages
from tsrec.keywords.teacher import MAX_KEYWORDS, ItemKeywords
from tsrec.keywords.word_segmentation import split_pieces, split_words, without_inner_blanks

_UNITS = "cm diameter feet foot ft gallon gram grams height id inch inches kg lb lbs length ml mm od oz pcs width"
_CONTRACTED = "ll ve"
# A term of very few items cannot describe what the items of a cluster share.
_MIN_ITEMS = 3
_LONGEST = 2  # words of a term


class KeylessTeacher:
    """TF-IDF over the word n-grams of the whole catalogue.

    An item's score of a term is its weight in the text plus its weight in the title: the title says what an item
    is, the description what it is like. Where no term is shared with other items, the title's own words stand in.

    Attributes:
        languages: items of each language (ISO 639-1) that their stop words show, or `unclear`.
    """

    def __init__(self, catalogue: pd.DataFrame) -> None:
        self.languages, stop_words = find_languages(split_words(text) for text in catalogue[C.TEXT])
        self.stop_words = stop_words.union(_UNITS.split(), _CONTRACTED.split())
        self.vectorizer: TfidfVectorizer | None = TfidfVectorizer(
            analyzer=self._terms,
            sublinear_tf=True,
            min_df=min(_MIN_ITEMS, max(1, len(catalogue) // 10)),  # ten items can hardly share anything
        )
        try:
            self.vectorizer.fit(catalogue[C.TEXT])
        except ValueError:  # no text holds a word that counts
            self.vectorizer = None
        else:
            self.terms = self.vectorizer.get_feature_names_out()

    def draw(self, items: pd.DataFrame) -> ItemKeywords:
        """The best terms of each item, best first; equal ones in the order of the alphabet."""
        titles = list(items[C.TITLE])
        if self.vectorizer is None:
            best: list[list[str]] = [[] for _ in titles]
        else:
            weights = self.vectorizer.transform(items[C.TEXT]) + self.vectorizer.transform(titles)
            best = [self._best(weights[[row]]) for row in range(len(items))]
        title_words = [[] if terms else _words_of(title) for terms, title in zip(best, titles, strict=True)]
        keywords = [
            terms or of_title[:MAX_KEYWORDS] or [item]
            for terms, of_title, item in zip(best, title_words, items[C.ITEM], strict=True)
        ]
        n_from_title, n_shared = sum(map(bool, title_words)), sum(map(bool, best))
        usage = {"n_from_title": n_from_title, "n_from_id": len(items) - n_shared - n_from_title}
        return ItemKeywords(keywords, ["keyless"] * len(items), usage)

    def _terms(self, text: str) -> list[str]:
        """The n-grams of a text's words, stop words left out, joined by blanks in every script."""
        kept = [word for word in map(self._without_article, split_words(text)) if word not in self.stop_words]
        longest = min(_LONGEST, len(kept))
        return [" ".join(kept[at : at + n]) for n in range(1, longest + 1) for at in range(len(kept) - n + 1)]

    def _without_article(self, word: str) -> str:
        """`dell'acqua` without its `dell`."""
        article, apostrophe, rest = word.partition("'")
        return rest if apostrophe and len(rest) > 1 and article in self.stop_words else word

    def _best(self, weights: sparse.csr_matrix) -> list[str]:
        order = np.lexsort((weights.indices, -weights.data))  # terms are numbered in the order of the alphabet
        best = _without_overlap(str(self.terms[term]) for term in weights.indices[order])
        return [without_inner_blanks(term) for term in best]


def _words_of(title: str) -> list[str]:
    """The title's words in lower case, each once, or what else it has between its blanks and signs ("2001")."""
    return list(dict.fromkeys(split_words(title))) or list(dict.fromkeys(split_pieces(title)))


def _without_overlap(terms: Iterable[str]) -> list[str]:
    """The first `MAX_KEYWORDS` terms, leaving out those that contain, or are contained in, one already taken."""
    chosen: list[str] = []
    for term in terms:
        parts = set(term.split())
        if not any(parts <= set(other.split()) or parts >= set(other.split()) for other in chosen):
            chosen.append(term)
        if len(chosen) == MAX_KEYWORDS:
            break
    return chosen
