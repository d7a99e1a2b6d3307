"""Measures champion and challenger on the same newest targets, with paired differences, and hits on new items."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tsrec.columns import FUSED, LLM, Split
from tsrec.columns import Columns as C
from tsrec.config import Config, EvaluateConfig, RecommendConfig, Section, canonical
from tsrec.evaluate.scoring import score
from tsrec.evaluate.slices import target_slices
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders.candidates import read_candidates, repeats_filter
from tsrec.recommenders.catalogue import Catalogue, read_catalogue
from tsrec.recommenders.recommender import Recommender
from tsrec.recommenders.stage_settings import BeamSettings
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.store import Artifact, ArtifactKey, ArtifactStore, ArtifactWriter, Lineage, base_role
from tsrec.store.shards import row_shards, tables_of

CHAMPION, CHALLENGER = "champion", "challenger"
BEST = "best champion"  # since the last rebuild, where it is another than the champion

_STAGE, _VERSION = "compare", 3
_BEST_ROLE = "fuse:best"
_SHARD = 1024  # targets; a killed comparison goes on at the next shard


class ComparisonSettings(Section):
    """What a comparison depends on beside the two models."""

    own: EvaluateConfig
    rules: RecommendConfig
    decode: BeamSettings


def compare(
    store: ArtifactStore, champion: Artifact, best: Artifact | None, artifacts: Mapping[str, Artifact], config: Config
) -> Artifact:
    """Measure a finished run against the champion, the model `fuse`, on the run's own targets; and against the best
    champion since the last rebuild, where that is another one.

    A champion stands with its own catalogue, so that it misses every item that is new, and with members that, like
    the challenger's, have seen train alone.

    Returns:
        an artifact with `metrics` and `differences` of the methods `challenger`, `champion` and, where it is given,
        `best champion` in the form of the evaluate stage's, with the slices `new items` and `known items` (new to the
        champion); and `summary.json`.
    """
    settings = ComparisonSettings(
        own=config.evaluate, rules=config.recommend, decode=BeamSettings.from_run_config(config)
    )
    parents = {role: artifacts[role].fingerprint for role in ("ingest", "fuse")}
    parents[base_role("fuse")] = champion.fingerprint
    if best is not None:
        parents[_BEST_ROLE] = best.fingerprint
    key = ArtifactKey.from_inputs(config.dataset, _STAGE, _VERSION, canonical(settings), parents)
    return store.build(key, lambda out: _compare(Lineage(store), champion, best, artifacts, settings, out))


def _compare(
    lineage: Lineage,
    champion: Artifact,
    best: Artifact | None,
    artifacts: Mapping[str, Artifact],
    settings: ComparisonSettings,
    out: ArtifactWriter,
) -> None:
    catalogue, histories = read_catalogue(artifacts["ingest"])
    all_targets = select_targets(histories, settings.rules)
    rows = np.flatnonzero(all_targets.is_in_split(Split(settings.own.split)))
    targets = Targets(histories, all_targets.events[rows])
    k = max(settings.own.k)
    recommender = Recommender.from_artifact(lineage, champion, as_measured=True)
    lists = {
        CHALLENGER: read_candidates(artifacts["fuse"], FUSED, all_targets, rows, k).items,
        CHAMPION: _champion_lists(CHAMPION, recommender, targets, catalogue, k, out),
    }
    if best is not None:
        best_recommender = Recommender.from_artifact(lineage, best, as_measured=True)
        lists[BEST] = _champion_lists(BEST, best_recommender, targets, catalogue, k, out)
    was_known = np.isin(catalogue.item_ids, recommender.catalogue.item_ids)
    is_new = ~was_known[targets.items]
    slices = target_slices(histories, targets.events, catalogue.n_items)
    slices |= {"new items": is_new, "known items": ~is_new}
    metrics, differences = score(
        lists, targets.items, targets.users, slices, catalogue.n_items, settings.own, against=(CHAMPION, BEST)
    )
    out.write_table("metrics", metrics)
    out.write_table("differences", differences)
    summary: dict[str, Any] = {
        "n_targets": len(rows),
        "n_new_item_targets": int(is_new.sum()),
        "n_new_items": int((~was_known).sum()),
        "share_new_items": float((~was_known).mean()),
    }
    if is_new.any():
        after = read_candidates(artifacts["decode"], LLM, all_targets, rows[is_new], k).items
        decode = lineage.parent(champion, "decode")
        trained = lineage.parent(decode, trained_in(decode.manifest.key.parents))
        before = _llm_lists(trained, artifacts["sids"], targets, np.flatnonzero(is_new), catalogue, settings, k)
        target_items = targets.items[is_new][:, None]
        summary[f"hr@{k}_new_items_before_training"] = float((before == target_items).any(axis=1).mean())
        summary[f"hr@{k}_new_items_after_training"] = float((after == target_items).any(axis=1).mean())
    out.write_json("summary", summary)


def _champion_lists(
    name: str, recommender: Recommender, targets: Targets, catalogue: Catalogue, k: int, out: ArtifactWriter
) -> np.ndarray:
    """(T, k) item numbers of the new catalogue; -1 for items that have gone from it, and behind the last."""
    item_number = {item_id: number for number, item_id in enumerate(catalogue.item_ids)}

    def rank(first: int, end: int) -> pa.Table:
        histories = [catalogue.item_ids[past].tolist() for past in targets.pasts(slice(first, end))]
        ranked = [
            [item_number.get(item.item_id, -1) for item in items] for items in recommender.recommend(histories, k)
        ]
        padded = [items + [-1] * (k - len(items)) for items in ranked]
        return pa.table({C.ITEMS: pa.array(padded, pa.list_(pa.int32()))})

    shards = row_shards(out.work, len(targets.events), _SHARD, rank, lambda first, end: f"{name} {first}-{end}")
    tables = tables_of(shards, f"ranking by the {name}", "target")
    return np.concatenate([table[C.ITEMS].combine_chunks().flatten().to_numpy().reshape(-1, k) for table in tables])


def _llm_lists(
    trained: Artifact,
    sids: Artifact,
    targets: Targets,
    rows: np.ndarray,
    catalogue: Catalogue,
    settings: ComparisonSettings,
    k: int,
) -> np.ndarray:
    """(R, k) lists of the champion's LLM as it is, over the new catalogue and its SIDs, for some of the targets."""
    from tsrec.recommenders.llm import load_llm  # torch and transformers: planning a refresh does without

    llm = load_llm(trained, sids, catalogue, settings.decode)
    pasts = targets.pasts(rows)
    return llm.rank(pasts, k, repeats_filter(pasts, catalogue.n_items, settings.rules)).items
