"""The whole pipeline on catalogues of a few items, as people have when they try it."""

from pathlib import Path

import pytest

from tsrec import pipeline
from tsrec.columns import Columns as C
from tsrec.config import load_config

NOUNS = ("Harbour", "Winter", "Market", "Circus", "Valley")


@pytest.mark.parametrize("n_items", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_a_catalogue_of_a_few_items_goes_all_the_way(tmp_path: Path, tiny_backbone: Path, n_items: int) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    titles = "".join(f"i{item},The {NOUNS[item]} {item}\n" for item in range(n_items))
    (shop / "items.csv").write_text(f"item_id,title\n{titles}")
    events = "".join(f"u{user},i{(user + time) % n_items},{time}\n" for user in range(8) for time in range(4))
    (shop / "interactions.csv").write_text(f"user_id,item_id,timestamp\n{events}")
    settings = ["dataset=tiny", "ingest.source=tables", f"ingest.path={shop}", f"store={tmp_path / 'store'}"]
    settings += [f"backbone.model={tiny_backbone}", "backbone.n_layers=1", "finetune.epochs=1"]
    artifacts = pipeline.run(load_config(None, settings))
    assert len(artifacts["sids"].frame("item_sids")) == n_items
    assert set(artifacts["fuse"].frame("recommendations")[C.ITEM]) == {f"i{item}" for item in range(n_items)}
    assert artifacts["report"].file("report.html").is_file()
