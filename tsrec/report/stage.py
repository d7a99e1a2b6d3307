"""The report stage: reads artifacts, plots, and renders one HTML page. Images are embedded, so the page is one file."""

import base64
from collections.abc import Mapping

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from tsrec.columns import ALL, Split
from tsrec.columns import Columns as C
from tsrec.config import Section
from tsrec.evaluate.summary import headline
from tsrec.report import content, plots
from tsrec.report.user_examples import N_USERS, describe_members, example_users
from tsrec.store import Artifact, ArtifactWriter


def run(_: Section, parents: Mapping[str, Artifact], out: ArtifactWriter) -> None:
    """Write `report.html`, and each plot as `images/<name>.png` too."""
    items, interactions = parents["ingest"].frame("items"), parents["ingest"].frame("interactions")
    metrics = parents["evaluate"].frame("metrics")
    images = _images(parents)
    folder = out.directory("images")
    for name, png in images.items():
        (folder / f"{name}.png").write_bytes(png)
    codes, health = parents["sids"].matrix("item_sids", C.CODES), parents["sids"].frame("codebook_health")
    differences = parents["evaluate"].frame("differences")
    # Item text is untrusted: autoescape covers every value that the template prints.
    environment = Environment(loader=PackageLoader("tsrec.report"), autoescape=select_autoescape(default=True))
    page = environment.get_template("report.html.j2").render(
        dataset=parents["ingest"].manifest.key.dataset,
        summary=content.data_summary(items, interactions),
        members=describe_members(parents["fuse"].json("gate")["order"]),
        stories=example_users(parents, N_USERS),
        split=parents["evaluate"].manifest.key.config["own"]["split"],
        answer=content.headline_figures(metrics),
        tables=content.metric_tables(metrics, differences),
        losses=parents["ingest"].json("losses"),
        headline=headline(differences),
        worth=content.contribution_rows(differences),
        slices=content.slice_rows(metrics, "hr", int(metrics[C.K].max())),
        k=int(metrics[C.K].max()),
        gate=content.gate_rows(parents["fuse"].json("gate")),
        trees=content.trees_summary(parents["fuse"]),
        health=_rounded(health.assign(**{C.LEVEL: health[C.LEVEL] + 1}).to_dict("records")),  # people count from 1
        tree=content.token_tree(parents["sa_init"].frame("token_semantics"), codes, items),
        stages=content.stage_counts(parents),
        images={name: base64.b64encode(png).decode("ascii") for name, png in images.items()},
    )
    (out.path / "report.html").write_text(page, encoding="utf-8")
    out.count(n_bytes=len(page.encode()))


def _images(parents: Mapping[str, Artifact]) -> dict[str, bytes]:
    interactions = parents["ingest"].frame("interactions", [C.USER, C.ITEM, C.SPLIT])
    items = parents["ingest"].frame("items", [C.ITEM])
    table = parents["evaluate"].frame("metrics")
    k = int(table[C.K].max())
    in_train = interactions[interactions[C.SPLIT] == Split.TRAIN.value][C.ITEM].value_counts()
    images = {
        "history": plots.history_plot(
            interactions[C.USER].value_counts().to_numpy(),
            items[C.ITEM].map(in_train).fillna(0).to_numpy(dtype=np.int64),
        ),
        "codebook": plots.codebook_plot(parents["sids"].matrix("item_sids", C.CODES)),
        "training": plots.training_plot(parents["finetune"].frame("training_log")),
        "hr": plots.metrics_plot(table, "hr", k),
        "ndcg": plots.metrics_plot(table, "ndcg", k),
    }
    if "rl" in parents:
        images["rl"] = plots.rl_plot(parents["rl"].frame("training_log"))
    if (table[C.SLICE] != ALL).any():
        images["slices"] = plots.slices_plot(table, "hr", k)
    return images


def _rounded(records: list[dict]) -> list[dict]:
    return [{k: round(v, 4) if isinstance(v, float) else v for k, v in record.items()} for record in records]
