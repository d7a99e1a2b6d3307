"""The model that is trained: a causal LM whose SID rows are a parameter of their own.

The pretrained vocabulary rows stay as they are (unless asked), so no optimizer step touches tens of thousands of rows
that no history uses. The vocabulary projection is computed only where there is a label, and for a SID label only over
the tokens of its level, which is all that constrained decoding ever compares. Both ends are the language model's own
layers, called with these rows, so that what is trained is what is exported.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tsrec.config import FinetuneConfig
from tsrec.llm.causal_lm import OutputHead
from tsrec.llm.causal_lm import embed as embed_as
from tsrec.sid.space import SidSpace
from tsrec.training.attention import attend_by_rows, packed_states
from tsrec.training.losses import losses_in_chunks
from tsrec.training.norms import use_fast_norms
from tsrec.training.packing import IGNORED
from tsrec.training.product_shapes import in_few_shapes

_LORA_DROPOUT = 0.05  # on the adapters' input
_TEXT_LABELS_AT_ONCE = 512  # logits over a whole vocabulary: 512 x 150,000 float32 are 0.3 GB


class SidModel(nn.Module):
    """A causal LM extended by SID tokens: token id `n_text + i` is SID token i in flat order.

    Args:
        language_model: the pretrained causal LM; it is taken over, not copied.
        sid_rows: (n_sid, D) float32, where the rows of SID tokens start.
        space: the codes of every level.
        n_text: pretrained tokens that are kept, the length of the tokenizer; surplus padding rows are cut.
        n_tasks: number of tasks that losses are reported for.
        config: method, dropout, LoRA.
    """

    def __init__(
        self,
        language_model: PreTrainedModel,
        sid_rows: Tensor,
        space: SidSpace,
        n_text: int,
        n_tasks: int,
        config: FinetuneConfig,
    ) -> None:
        super().__init__()
        language_model.resize_token_embeddings(n_text, mean_resizing=False)
        embedding: Any = language_model.get_input_embeddings()
        embedding.padding_idx = None  # it may lie beyond the SID rows, and takes a text row's gradient away
        self._shell = [language_model]  # kept out of the module tree: tied weights would be saved twice
        self.decoder = language_model.get_decoder()
        attend_by_rows(self.decoder)
        use_fast_norms(self.decoder)
        self._head = OutputHead(language_model)
        head: Any = language_model.get_output_embeddings()
        tied = head.weight is embedding.weight
        self.text_head: nn.Module | None = None if tied else head
        self.text_bias: nn.Parameter | None = head.bias if tied else None
        self.sid_rows = nn.Parameter(sid_rows.clone())
        self.space, self.n_text, self.n_tasks = space, n_text, n_tasks
        self.dropout = nn.Dropout(config.dropout)
        self.label_smoothing = config.label_smoothing
        self._choose_trainable(config)

    def forward(
        self,
        input_ids: Tensor,  # (B, T)
        position_ids: Tensor,  # (B, T)
        segment_ids: Tensor,  # (B, T)
        labels: Tensor,  # (B, T), already shifted
        tasks: Tensor,  # (B, T)
        forks: Tensor | None = None,  # (B, T), where an example has branches
    ) -> dict[str, Tensor]:
        """Mean loss over labelled positions, and per task the sum of losses and the number of labels."""
        losses = self.losses(input_ids, position_ids, segment_ids, labels, forks)
        task = tasks[labels != IGNORED]
        zeros = torch.zeros(self.n_tasks, device=losses.device)
        return {
            "loss": losses.mean(),
            "task_loss": zeros.index_add(0, task, losses.detach()),
            "task_count": zeros.index_add(0, task, torch.ones_like(losses.detach())),
        }

    def losses(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        segment_ids: Tensor,
        labels: Tensor,
        forks: Tensor | None = None,
    ) -> Tensor:
        """(N,) float32: the cross-entropy of every label, in order, row by row; arguments (B, T) as of `forward`."""
        embedded = self.dropout(self.embed(input_ids))  # (B, T, D)
        labelled = labels != IGNORED
        hidden = packed_states(self.decoder, embedded, position_ids, segment_ids, labelled, forks)
        return self._losses(self.dropout(hidden), labels[labelled])

    def level_logits(self, hidden: Tensor, level: int) -> Tensor:
        """Logits (..., codes of the level) of last hidden states (..., D)."""
        offset = self.space.offsets[level]
        return self._head.logits(hidden, self.sid_rows[offset : offset + self.space.sizes[level]])

    def embed(self, input_ids: Tensor) -> Tensor:
        """Input embeddings (B, T, D) of text and SID tokens, both through the language model's own layer."""
        layer = self.decoder.get_input_embeddings()
        is_sid = input_ids >= self.n_text
        text = layer(input_ids.masked_fill(is_sid, 0))
        sid = embed_as(layer, self.sid_rows, (input_ids - self.n_text).clamp(min=0))
        return torch.where(is_sid[..., None], sid, text)

    @torch.inference_mode()
    def logits(self, input_ids: Tensor) -> Tensor:
        """Logits (T, n_text + n_sid) of one sequence (T,), as trained but without dropout: what an export must give."""
        training = self.training
        self.eval()
        positions, segments = torch.arange(len(input_ids))[None], torch.ones_like(input_ids)[None]
        hidden = packed_states(self.decoder, self.embed(input_ids[None]), positions, segments, segments > 0)  # (T, D)
        self.train(training)
        return torch.cat([self._head.logits(hidden), self._head.logits(hidden, self.sid_rows)], dim=1)

    def export(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Save a plain model of transformers, SID rows appended to its vocabulary, with the extended tokenizer."""
        merge: Any = getattr(self.decoder, "merge_and_unload", None)
        if merge is not None:  # LoRA: merges in place, into the very layers of the language model
            merge()
        language_model = self._shell[0]
        language_model.resize_token_embeddings(self.n_text + len(self.sid_rows), mean_resizing=False)
        with torch.no_grad():
            head = language_model.get_output_embeddings()
            for ends in (language_model.get_input_embeddings(), head):
                ends.get_parameter("weight")[self.n_text :] = self.sid_rows  # when tied, twice the same
            if head.bias is not None:
                head.bias[self.n_text :] = 0
        language_model.requires_grad_(True)
        language_model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def _choose_trainable(self, config: FinetuneConfig) -> None:
        self.decoder.requires_grad_(config.method == "full")
        if config.method == "lora":
            from peft import LoraConfig, get_peft_model

            adapters = LoraConfig(
                r=config.lora.rank,
                lora_alpha=2 * config.lora.rank,  # so that adapters of any rank are scaled alike
                lora_dropout=_LORA_DROPOUT,
                target_modules="all-linear",
            )
            self.decoder = get_peft_model(self.decoder, adapters)
        self.decoder.get_input_embeddings().weight.requires_grad_(config.train_text_rows)
        if self.text_head is not None:
            self.text_head.requires_grad_(config.train_text_rows)
        if self.text_bias is not None:
            self.text_bias.requires_grad_(config.train_text_rows)

    def _losses(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """(N,) float32 cross-entropy: a SID label among its level's tokens, a text label among the text tokens.

        SID labels are smoothed in training alone, so that losses on valid can be compared.
        """
        smoothing = self.label_smoothing if self.training else 0.0
        losses = torch.zeros(len(labels), dtype=torch.float32, device=hidden.device)
        for level, (offset, size) in enumerate(zip(self.space.offsets, self.space.sizes, strict=True)):
            first = self.n_text + offset
            rows = torch.nonzero((labels >= first) & (labels < first + size)).squeeze(1)
            logits = in_few_shapes(partial(self.level_logits, level=level), hidden[rows])
            codes = labels[rows] - first
            entropy = functional.cross_entropy(logits.float(), codes, reduction="none", label_smoothing=smoothing)
            losses = losses.index_copy(0, rows, entropy)
        text = torch.nonzero(labels < self.n_text).squeeze(1)
        if len(text):
            losses = losses.index_copy(0, text, self._text_losses(hidden[text], labels[text]))
        return losses

    def _text_losses(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """(N,) float32 cross-entropy over all text rows; chunks' logits are made again for the backward pass."""

        def losses_of(part: Tensor, part_labels: Tensor) -> Tensor:
            return functional.cross_entropy(
                in_few_shapes(self._head.logits, part).float(), part_labels, reduction="none"
            )

        return losses_in_chunks(losses_of, hidden, labels, _TEXT_LABELS_AT_ONCE)
