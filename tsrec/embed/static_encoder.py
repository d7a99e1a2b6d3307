"""A static encoder, distilled from a sentence encoder: a text's vector is the mean of its tokens' vectors.

The steps are those of Model2Vec (github.com/MinishLab/model2vec). The sentence encoder reads every token of its
vocabulary alone. The resulting vectors are reduced to their principal components. Frequent tokens get less weight (SIF,
Arora et al., ICLR 2017); the catalogue's texts say how frequent a token is. Knows texts and vectors only.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

_DIMENSIONS = 256
_FREQUENT = 1e-3  # a token with this share of all tokens gets half the weight; chosen on valid
_COUNTED_TEXTS = 20_000
_TOKENS_AT_ONCE = 1024


def distill(encoder: "SentenceTransformer", folder: Path, texts: list[str]) -> np.ndarray:
    """A weighted vector for each of the V tokens of a sentence encoder, (V, D) float32.

    D is 256, or less where the encoder's vectors are shorter or the texts have fewer different tokens.

    Args:
        encoder: its sequences must open with its tokenizer's `cls_token` and close with its `sep_token`.
        folder: the one with its `tokenizer.json`.
        texts: those of the catalogue. Tokens are counted in at most 20,000 of them, drawn at random.
    """
    import torch
    from sklearn.decomposition import PCA

    tokenizer = _tokenizer(folder)
    drawn = np.random.default_rng(1).permutation(len(texts))[:_COUNTED_TEXTS]
    encodings = tokenizer.encode_batch([texts[row] for row in drawn], add_special_tokens=False)
    counts = np.bincount(np.concatenate([encoding.ids for encoding in encodings]).astype(np.int64))
    counts = np.pad(counts, (0, tokenizer.get_vocab_size() - len(counts)))
    opening, closing = encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id
    parts = []
    for tokens in torch.arange(len(counts)).split(_TOKENS_AT_ONCE):
        ids = torch.stack([torch.full_like(tokens, opening), tokens, torch.full_like(tokens, closing)], dim=1)
        features = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        with torch.inference_mode():
            output = encoder({name: rows.to(encoder.device) for name, rows in features.items()})
        parts.append(output["sentence_embedding"].float().cpu().numpy())
    vectors = np.concatenate(parts)
    used = vectors[counts > 0]
    components = PCA(min(_DIMENSIONS, *used.shape), svd_solver="covariance_eigh").fit(used)
    weights = _FREQUENT / (_FREQUENT + counts / counts.sum())
    return (components.transform(vectors) * weights[:, None]).astype(np.float32)


def static_encoder(folder: Path, vectors: np.ndarray) -> "SentenceTransformer":
    """An encoder from the `vectors` (V, D) of `distill` and the tokenizer in `folder`. It does not cut long texts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    embedding = StaticEmbedding(_tokenizer(folder), embedding_weights=np.array(vectors, dtype=np.float32))
    return SentenceTransformer(modules=[embedding], device="cpu", trust_remote_code=False)


def _tokenizer(folder: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
