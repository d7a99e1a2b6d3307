"""What a backbone must offer, tried on the model itself: packed histories, and beams in one sequence.

Every demand is tried by a small forward pass and held against the plain model, so that no list of families is needed.
"""

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from tsrec.errors import ConfigError
from tsrec.llm.causal_lm import OutputHead
from tsrec.sid.tokens import opening_token
from tsrec.training.packing import packed_attention_mask

_N_TRIAL = 12  # tokens of the trial: a sequence of 5, and one of 7
_N_FIRST = 5
_REFUSALS = (TypeError, ValueError, AttributeError, RuntimeError, NotImplementedError, IndexError, KeyError)


def check_backbone(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a model that cannot be trained on packed histories, or decoded by beams that share a prompt.

    Args:
        model: as it was loaded; it is put in evaluation mode.
        tokenizer: the model's.
        name: what the user called it, for messages.

    Raises:
        ConfigError: it lacks an opening token, input or output embeddings, attention by sdpa, or computes something
            else for packed sequences or shared prompts than for plain ones.
    """
    called = f"backbone.model {name!r} ({type(model).__name__})"
    opening_token(tokenizer)
    ends = model.get_input_embeddings(), model.get_output_embeddings()
    if any(getattr(end, "weight", None) is None for end in ends):
        raise ConfigError(f"{called} has no input or no output embeddings, where SID tokens go; choose a causal LM")
    if model.config._attn_implementation != "sdpa":
        raise ConfigError(
            f"{called} attends by {model.config._attn_implementation!r}: it does not support torch's "
            "scaled_dot_product_attention, whose masks packed histories and beams need; choose another model, "
            "such as a Llama, Qwen or Mistral"
        )
    try:
        differences = _differences(model.eval(), len(tokenizer))
    except _REFUSALS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{called} cannot be run as packed histories and beams need it: {reason}") from error
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.05
    for what, difference in differences.items():
        if not difference <= tolerance:  # NaN too
            raise ConfigError(
                f"{called} computes something else {what} than for one plain sequence (logits differ by "
                f"{difference:.1%}), so it cannot be trained or decoded here; choose another model, such as a Llama, "
                "Qwen or Mistral"
            )


@torch.inference_mode()
def _differences(model: PreTrainedModel, n_text: int) -> dict[str, float]:
    """Relative differences of logits from the plain model's: for packed sequences, and for two beams of one prompt."""
    n_tokens = min(n_text, len(model.get_input_embeddings().get_parameter("weight")))
    ids = torch.linspace(0, n_tokens - 1, _N_TRIAL).long()
    first, second = ids[:_N_FIRST], ids[_N_FIRST:]
    plain = torch.cat([model(input_ids=part[None], use_cache=False).logits[0] for part in (first, second)])
    beams = [torch.cat([first, beam]) for beam in second[:2].split(1)]
    plain_beams = torch.cat([model(input_ids=beam[None], use_cache=False).logits[0, -1:] for beam in beams])
    return {
        "for packed sequences": _relative(_packed(model, first, second), plain),
        "for beams that share a prompt": _relative(_shared(model, first, second[:2]), plain_beams),
    }


def _packed(model: PreTrainedModel, first: Tensor, second: Tensor) -> Tensor:
    """Logits (T, V) of two sequences in one row, as training lays them out."""
    segments = torch.tensor([1] * len(first) + [2] * len(second))[None]
    positions = torch.cat([torch.arange(len(first)), torch.arange(len(second))])[None]
    hidden = model.get_decoder()(
        inputs_embeds=model.get_input_embeddings()(torch.cat([first, second])[None]),
        position_ids=positions,
        attention_mask=packed_attention_mask(segments, positions),
        use_cache=False,
    ).last_hidden_state
    return OutputHead(model).logits(hidden[0])


def _shared(model: PreTrainedModel, prompt: Tensor, beams: Tensor) -> Tensor:
    """Logits (B, V) after each beam of one token, all at one position of one sequence, as decoding lays them out."""
    cache, length = DynamicCache(), len(prompt)
    decoder = model.get_decoder()
    causal = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
    positions = torch.arange(length)[None]
    decoder(
        input_ids=prompt[None], position_ids=positions, attention_mask=causal, past_key_values=cache, use_cache=True
    )
    itself = torch.eye(len(beams), dtype=torch.bool)
    seen = torch.cat([torch.ones(len(beams), length, dtype=torch.bool), itself], dim=1)[None, None]
    hidden = decoder(
        input_ids=beams[None],
        position_ids=torch.full((1, len(beams)), length),
        attention_mask=seen,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return OutputHead(model).logits(hidden[0])


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).float().norm() / expected.float().norm().clamp(min=1e-9))
