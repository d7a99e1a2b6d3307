"""The report stage: reads artifacts, plots, and renders one HTML page. Images are embedded, so the page is one file.

Events and lists are read in batches, so that memory does not grow with the number of users.
"""

import base64
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape

from tsrec.columns import ALL
from tsrec.columns import Columns as C
from tsrec.config import Section
from tsrec.evaluate.summary import headline
from tsrec.report import content, plots
from tsrec.report.user_examples import N_USERS, describe_members, example_users
from tsrec.store import Artifact, ArtifactWriter


def run(_: Section, parents: Mapping[str, Artifact], out: ArtifactWriter) -> None:
    """Write `report.html`, and each plot as `images/<name>.png` too."""
    items = parents["ingest"].frame("items", [C.ITEM, C.TITLE])
    events = content.count_events(parents["ingest"])
    metrics = parents["evaluate"].frame("metrics")
    codes, k = parents["sids"].matrix("item_sids", C.CODES), int(metrics[C.K].max())
    images = _images(parents, events, codes, metrics, k)
    folder = out.directory("images")
    for name, png in images.items():
        (folder / f"{name}.png").write_bytes(png)
    health = parents["sids"].frame("codebook_health")
    differences = parents["evaluate"].frame("differences")
    # Item text is untrusted: autoescape covers every value that the template prints.
    environment = Environment(loader=PackageLoader("tsrec.report"), autoescape=select_autoescape(default=True))
    page = environment.get_template("report.html.j2").render(
        dataset=parents["ingest"].manifest.key.dataset,
        summary=content.data_summary(events),
        members=describe_members(parents["fuse"].json("gate")["order"]),
        stories=example_users(parents, N_USERS),
        split=parents["evaluate"].manifest.key.config["own"]["split"],
        answer=content.headline_figures(metrics),
        tables=content.metric_tables(metrics, differences),
        losses=parents["ingest"].json("losses"),
        headline=headline(differences),
        worth=content.contribution_rows(differences),
        slices=content.slice_rows(metrics, "hr", k),
        k=k,
        gate=content.gate_rows(parents["fuse"].json("gate")),
        trees=content.trees_summary(parents["fuse"]),
        health=health.assign(**{C.LEVEL: health[C.LEVEL] + 1}).round(4).to_dict("records"),  # people count from 1
        tree=content.token_tree(parents["sa_init"].frame("token_semantics"), codes, items),
        stages=content.stage_counts(parents),
        images={name: base64.b64encode(png).decode("ascii") for name, png in images.items()},
    )
    (out.path / "report.html").write_text(page, encoding="utf-8")
    out.count(n_bytes=len(page.encode()))


def _images(
    parents: Mapping[str, Artifact], events: content.EventCounts, codes: np.ndarray, metrics: pd.DataFrame, k: int
) -> dict[str, bytes]:
    images = {
        "history": plots.history_plot(events.lengths, np.bincount(events.n_train)),
        "codebook": plots.codebook_plot(codes),
        "training": plots.training_plot(parents["finetune"].frame("training_log")),
        "hr": plots.metrics_plot(metrics, "hr", k),
        "ndcg": plots.metrics_plot(metrics, "ndcg", k),
    }
    if "rl" in parents:
        images["rl"] = plots.rl_plot(parents["rl"].frame("training_log"))
    if (metrics[C.SLICE] != ALL).any():
        images["slices"] = plots.slices_plot(metrics, "hr", k)
    return images
