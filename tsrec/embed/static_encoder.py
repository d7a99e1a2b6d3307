"""A static encoder, distilled from a sentence encoder: a text's vector is the mean of its tokens' vectors.

It is made as Model2Vec (github.com/MinishLab/model2vec) makes one: every token of the vocabulary goes through the
sentence encoder by itself, what comes out is reduced to its principal components, and frequent tokens weigh less (SIF,
Arora et al., ICLR 2017). Here the texts of the catalogue say how frequent a token is. Knows texts and vectors only.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

_DIMENSIONS = 256
_FREQUENT = 1e-3  # share of all tokens at which a token counts half; chosen on valid
_COUNTED_TEXTS = 20_000
_TOKENS_AT_ONCE = 1024


def distill(encoder: "SentenceTransformer", folder: Path, texts: list[str]) -> np.ndarray:
    """(V, D) float32: what each of the V tokens of a sentence encoder adds to the vector of a text.

    D is 256, or as many as the texts have different tokens.

    Args:
        encoder: one whose sequences open with its tokenizer's `cls_token` and close with its `sep_token`.
        folder: where its `tokenizer.json` lies.
        texts: those of the catalogue; 20,000 of them, drawn at random, are counted.
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
    """The encoder of (V, D) `vectors` that `distill` gave for the tokenizer in `folder`; it reads texts to the end."""
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
