"""Where SID tokens' embeddings start. Every initializer is one function of the same form; `initialize` does the rest.

An initializer takes (meanings, vectors, tokenizer): the n_tokens meanings in flat order, and the LLM's own
input embeddings, (n_vocabulary, D) float32. It returns (n_tokens, D) float32 rows. A row of NaN says that a token has
nothing to start from; `initialize` fills it at random.
"""

from collections.abc import Callable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from tsrec.config import SaInitSettings
from tsrec.sid.meaning import TokenMeaning

_RANDOM_STD = 0.02  # as untrained rows of Llama and its kind start

Initializer = Callable[[Sequence[TokenMeaning], np.ndarray, PreTrainedTokenizerBase], np.ndarray]


def keyword_means(
    meanings: Sequence[TokenMeaning], vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> np.ndarray:
    """SA-Init (arXiv 2602.22632): the mean over a token's keywords of the mean embedding of each keyword's pieces.

    A keyword is tokenized with a blank before it, as it stands in running text: for most vocabularies the pieces at
    the start of a text are other, rarer ones.
    """
    distinct = sorted({keyword for meaning in meanings for keyword in meaning.keywords})
    vector_of = {keyword: _mean_of_pieces(f" {keyword}", vectors, tokenizer) for keyword in distinct}
    rows = all_random(meanings, vectors, tokenizer)
    for index, meaning in enumerate(meanings):
        if meaning.keywords:
            rows[index] = np.mean([vector_of[keyword] for keyword in meaning.keywords], axis=0)
    return rows


def keyword_string(
    meanings: Sequence[TokenMeaning], vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> np.ndarray:
    """SA-Init as TS-Rec's authors released it: all keywords as one string, the mean over all of its pieces."""
    return np.stack([_mean_of_pieces(" ".join(meaning.keywords), vectors, tokenizer) for meaning in meanings])


def vocabulary_mean(
    meanings: Sequence[TokenMeaning], vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> np.ndarray:
    """Every token at the mean of the pretrained vocabulary: what libraries do when a vocabulary grows."""
    return np.tile(vectors.mean(axis=0, dtype=np.float64).astype(np.float32), (len(meanings), 1))


def all_random(meanings: Sequence[TokenMeaning], vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """No token has anything to start from: all rows are random."""
    return np.full((len(meanings), vectors.shape[1]), np.nan, dtype=np.float32)


INITIALIZERS: dict[str, Initializer] = {
    "keywords": keyword_means,
    "keyword-string": keyword_string,
    "vocabulary-mean": vocabulary_mean,
    "random": all_random,
}
# Only these differ from token to token around a common mean; centring the others leaves nothing, or changes nothing.
_AROUND_A_MEAN = ("keywords", "keyword-string")


def initialize(
    meanings: Sequence[TokenMeaning], vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase, config: SaInitSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Make the initial rows of all SID tokens as configured.

    Rows with a meaning are centred over all levels, other rows are random, and every row gets the configured norm.
    Random rows get it too: the SID rows are also the output layer, their norm sets the scale of the logits, and
    initializers can only be compared at equal norm.

    Args:
        meanings: n_tokens of them, in flat order.
        vectors: (n_vocabulary, D) float32, the LLM's own rows.
        tokenizer: the LLM's.
        config: `initializer`, `centre`, `norm` and the seed of random rows.

    Returns:
        (n_tokens, D) float32 rows, and (n_tokens,) bool: which of them carry a meaning (are not random). A row that
        centring takes to zero (one like all others) is replaced by a random one.
    """
    rows = INITIALIZERS[config.initializer](meanings, vectors, tokenizer)
    # A token's random row depends on the seed and its place alone, not on what others start at.
    generator = np.random.default_rng(config.finetune_seed)
    random = generator.standard_normal(rows.shape, dtype=np.float32) * _RANDOM_STD
    has_meaning = np.asarray(np.isfinite(rows).all(axis=1))
    result = random.astype(np.float64)
    result[has_meaning] = rows[has_meaning]
    if config.centre and config.initializer in _AROUND_A_MEAN and has_meaning.any():
        mean_length = np.linalg.norm(result[has_meaning], axis=1).mean()
        result[has_meaning] -= result[has_meaning].mean(axis=0)
        has_meaning = has_meaning & (np.linalg.norm(result, axis=1) > 1e-6 * mean_length)
        result[~has_meaning] = random[~has_meaning]
    if config.norm != "as-is":
        norm = np.linalg.norm(vectors, axis=1).mean() if config.norm == "pretrained" else config.norm
        lengths = np.linalg.norm(result, axis=1, keepdims=True)
        result *= norm / np.maximum(lengths, np.finfo(np.float32).tiny)
    return result.astype(np.float32), has_meaning


def _mean_of_pieces(text: str, vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """(D,), or NaN where the tokenizer makes nothing of the text."""
    ids = tokenizer(text, add_special_tokens=False).input_ids
    if not ids:
        return np.full(vectors.shape[1], np.nan, dtype=np.float32)
    return vectors[ids].mean(axis=0, dtype=np.float64).astype(np.float32)
