"""Tiny real things: a shop of 48 items and 60 users, and a Llama of two layers; the whole pipeline runs in seconds."""

import json
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SENTENCES = (
    "a clear two part epoxy adhesive that bonds metal and wood",
    "stainless steel screws for wood and drywall",
    "blue nitrile gloves for cleaning and painting",
    "a funny animated film about toys for children",
    "what does this product token mean? it means: strong glue, bonding, metal parts",
    "The user bought these items in order. Recommend the next item.",
)
NEW_ITEMS = ("n0", "n1", "n2")
_KINDS = ("steel hammer", "glue stick", "safety glove", "copper wire", "paper towel", "oil filter")
_HOSTILE_TITLE = "<script>alert('title')</script> &amp; claw hammer"


def write_backbone(folder: Path) -> None:
    """A real Llama of two layers (hidden 32, 2 heads, float32) with a byte-level BPE tokenizer."""
    tokenizer = _tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)


def write_shop(folder: Path) -> None:
    """48 items, one of them hostile, and 60 users who stay within one kind of item, but for one event of an item that
    the shop no longer has."""
    moments = random.Random(1)
    with (folder / "items.jsonl").open("w", encoding="utf-8") as stream:
        for item in range(48):
            title = f"{_KINDS[item % 6]} model {chr(97 + item // 6)} heavy duty" if item else _HOSTILE_TITLE
            stream.write(json.dumps({"item_id": f"i{item}", "title": title, "description": _KINDS[item % 6]}) + "\n")
    with (folder / "interactions.csv").open("w", encoding="utf-8") as stream:
        stream.write("user_id,item_id,timestamp\n")
        for user in range(60):
            for time in range(moments.randint(4, 9)):
                stream.write(f"u{user},i{(user % 6) + 6 * moments.randrange(8)},{time}\n")
        stream.write("u0,<b>gone</b>,99\n")


def grow_shop(folder: Path, shop: Path) -> None:
    """Another week: three new items, one changed title, and an event or two more of most users."""
    moments = random.Random(2)
    items = [json.loads(line) for line in (shop / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    items[5]["title"] = "oil filter model a renamed"
    items += [
        {"item_id": item, "title": f"glue stick {item} extra strong", "description": "glue stick"} for item in NEW_ITEMS
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    events = (shop / "interactions.csv").read_text(encoding="utf-8")
    for user in range(50):
        for time_ in range(100, 100 + moments.randint(1, 2)):
            item = NEW_ITEMS[user % 3] if user % 6 == 1 else f"i{(user % 6) + 6 * moments.randrange(8)}"
            events += f"u{user},{item},{time_}\n"
    (folder / "interactions.csv").write_text(events, encoding="utf-8")


def settings_of(shop: Path, backbone: Path) -> list[str]:
    """Overrides that run the whole pipeline on the shop within seconds."""
    return [
        "dataset=shop",
        "ingest.source=tables",
        f"ingest.path={shop}",
        "sids.codes_per_level=[6, 8, 16]",
        f"backbone.model={backbone}",
        "backbone.n_layers=1",
        "finetune.epochs=2",
        "finetune.batch_size=16",
        "finetune.warmup_steps=2",
        "finetune.tasks={history: 1, title_to_sid: 0.5, token_to_meaning: 0.5, meaning_to_token: 0.5}",
        "members.sasrec.epochs=1",
        "refresh.settle_s=0",
    ]


def _tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
