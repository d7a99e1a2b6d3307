"""The keyless teacher: an item's words and short phrases that are rare elsewhere (TF-IDF). Deterministic."""

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from tsrec.columns import Columns as C
from tsrec.config import KeywordsConfig
from tsrec.keywords.teacher import Drawn

# Words start with a letter, so sizes, part numbers and years do not count as keywords.
_WORD = r"(?u)\b[^\W\d_][\w'-]+\b"


class KeylessTeacher:
    """TF-IDF over word n-grams of the whole catalogue."""

    def __init__(self, catalogue: pd.DataFrame, config: KeywordsConfig) -> None:
        self.config = config
        self.vectorizer = TfidfVectorizer(
            token_pattern=_WORD, stop_words="english", ngram_range=(1, config.max_ngram), sublinear_tf=True, min_df=1
        )
        try:
            self.vectorizer.fit(catalogue[C.TEXT])
        except ValueError:  # no text holds a single word: titles stand in
            self.vectorizer = None
        else:
            self.terms = self.vectorizer.get_feature_names_out()

    def draw(self, items: pd.DataFrame) -> Drawn:
        """The best terms of each item; its title where its text holds no word."""
        if self.vectorizer is None:
            return Drawn([[title] for title in items[C.TITLE]], ["keyless"] * len(items))
        weights = self.vectorizer.transform(items[C.TEXT]).tocsr()
        keywords = []
        for row, title in enumerate(items[C.TITLE]):
            place = slice(weights.indptr[row], weights.indptr[row + 1])
            terms, values = weights.indices[place], weights.data[place]
            order = np.lexsort((terms, -values))  # ties by alphabet: terms are numbered in its order
            chosen = _without_parts([str(self.terms[terms[index]]) for index in order], self.config.max_keywords)
            keywords.append(chosen or [title])
        return Drawn(keywords, ["keyless"] * len(items))


def _without_parts(terms: list[str], most: int) -> list[str]:
    """The first `most` terms, leaving out words of a phrase already taken, and phrases of taken words alone."""
    chosen: list[str] = []
    for term in terms:
        words = set(term.split())
        if not any(words <= set(other.split()) or words >= set(other.split()) for other in chosen):
            chosen.append(term)
        if len(chosen) == most:
            break
    return chosen
