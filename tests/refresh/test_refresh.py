"""A shop that grows: the same plan with the champion's artifacts as bases, and what may never change."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.flows.prefect_api import wait_for
from tests.tiny_shop import NEW_ITEMS, grow_shop
from tsrec import pipeline, refresh
from tsrec.config import Config, load_config, with_overrides
from tsrec.errors import ConfigError, DataError
from tsrec.recommenders.recommender import Recommender
from tsrec.recommenders.served_members import find_served, fit_served
from tsrec.refresh import RefreshOutcome
from tsrec.refresh.promotion_rule import decide_promotion
from tsrec.store import Artifact, ArtifactStore, Lineage, base_role, is_base, locks
from tsrec.store.champions import champion_of, moves_of, promote, roll_back
from tsrec.store.gc import collect, find_garbage


@pytest.fixture(scope="module")
def data(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(shop, tmp_path_factory.mktemp("growing") / "data"))


@pytest.fixture(scope="module")
def config(shop_settings: list[str], finished_store: Path, data: Path) -> Config:
    """A finished run, in a store of this module's own, of data that may grow."""
    store = shutil.copytree(finished_store, data.parent / "store")
    more = [f"store={store}", f"ingest.path={data}", "refresh.min_targets=20"]
    return load_config(None, [*shop_settings, *more])


@pytest.fixture(scope="module")
def champion(artifacts: dict[str, Artifact]) -> dict[str, Artifact]:
    return artifacts


@pytest.fixture(scope="module")
def before(champion: dict[str, Artifact], config: Config) -> RefreshOutcome:
    """A refresh before anything is new."""
    return refresh.run(config)


@pytest.fixture(scope="module")
def cut_otherwise(before: object, config: Config, data: Path) -> RefreshOutcome:
    """A refresh of the same events in two files, one of which comes twice."""
    header, *rows = (data / "interactions.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    folder = data.parent / "cut"
    folder.mkdir()
    for name, some in {"1": rows[:100], "2": rows[100:], "3": rows[:100]}.items():
        (folder / f"{name}.csv").write_text("".join([header, *some]), encoding="utf-8")
    (data / "interactions.csv").rename(data / "kept.csv")
    folder.rename(data / "interactions")
    outcome = refresh.run(config)
    (data / "interactions").rename(folder)
    (data / "kept.csv").rename(data / "interactions.csv")
    return outcome


@pytest.fixture(scope="module")
def outcome(cut_otherwise: object, config: Config, data: Path, shop: Path) -> RefreshOutcome:
    grow_shop(data, shop)
    return refresh.run(with_overrides(config, ["refresh.refit=true"]))


@pytest.fixture(scope="module")
def refreshed(outcome: RefreshOutcome, config: Config) -> Callable[[str], Artifact]:
    """Artifacts that the refreshed model was made from, by stage."""
    lineage = Lineage(ArtifactStore(config.store))
    made = refresh.bases.bases_of(lineage, ArtifactStore(config.store).open(outcome.model))
    return lambda stage: lineage.verified(made[stage])


def test_nothing_new_ends_at_once_and_builds_nothing(
    before: RefreshOutcome, champion: dict[str, Artifact], config: Config
) -> None:
    assert (before.status, before.model) == ("nothing new", champion["fuse"].fingerprint)
    store = ArtifactStore(config.store)
    assert len(moves_of(store, "shop")) == 1
    assert {artifact.path for artifact in store.list()} == {artifact.path for artifact in champion.values()}


def test_the_same_events_in_other_files_are_nothing_new(
    cut_otherwise: RefreshOutcome, champion: dict[str, Artifact], config: Config
) -> None:
    assert (cut_otherwise.status, cut_otherwise.model) == ("nothing new", champion["fuse"].fingerprint)
    assert "other raw files, and the same items and interactions" in cut_otherwise.why


def test_a_data_set_has_one_refresh_at_a_time_and_others_do_not_wait(
    before: object, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[RefreshOutcome] = []
    second = threading.Thread(target=lambda: found.append(refresh.run(config)))
    with locks.hold(ArtifactStore(config.store).root / "shop" / "refresh"):  # as a refresh does
        second.start()
        wait_for(lambda: "waiting for" in caplog.text, "the line")
        assert not found
        other = with_overrides(config, ["dataset=market", f"ingest.path={config.store}/nowhere"])
        with pytest.raises(DataError, match="no such folder"):  # it is at its files already
            refresh.run(other)
    second.join(600)
    assert [outcome.status for outcome in found] == ["nothing new"]


def test_a_refresh_is_the_same_plan_with_bases(
    outcome: RefreshOutcome, champion: dict[str, Artifact], config: Config
) -> None:
    plain, based = pipeline.plan(config), pipeline.plan(config, champion)
    assert list(plain) == list(based)
    assert {name: stage.parents for name, stage in plain.items()} == {name: s.parents for name, s in based.items()}
    with_bases = {"ingest", "keywords", "embed", "sids", "sa_init", "finetune", "sasrec"}
    assert {name for name, stage in based.items() if stage.bases} == with_bases
    for name in with_bases:
        assert based[name].key.parents[base_role(name)] == champion[name].fingerprint
        assert based[name].key.fingerprint != plain[name].key.fingerprint


def test_no_old_sid_changes_and_new_ones_are_free(
    refreshed: Callable[[str], Artifact], champion: dict[str, Artifact]
) -> None:
    old, new = (a.frame("item_sids").set_index("item_id")["codes"] for a in (champion["sids"], refreshed("sids")))
    assert set(new.index) - set(old.index) == set(NEW_ITEMS)
    for item, codes in old.items():
        assert new[item].tolist() == codes.tolist()
    assert len({tuple(codes) for codes in new}) == len(new)
    assert refreshed("sids").table("codebooks").equals(champion["sids"].table("codebooks"))
    assert refreshed("sids").counts["n_items_new"] == 3


def test_only_new_and_changed_texts_are_asked_for(
    refreshed: Callable[[str], Artifact], champion: dict[str, Artifact]
) -> None:
    assert refreshed("keywords").counts["n_items_asked"] == 4  # three new, one renamed
    assert refreshed("embed").counts["n_items_known"] == 47
    old, new = (
        a.frame("item_keywords").set_index("item_id")["keywords"] for a in (champion["keywords"], refreshed("keywords"))
    )
    for item in set(old.index) - {"i5"}:
        assert new[item].tolist() == old[item].tolist()
    items = refreshed("ingest").frame("items", ["item_id"])["item_id"].tolist()
    assert new.index.tolist() == items
    vectors = [
        a.frame("item_embeddings").set_index("item_id")["embedding"] for a in (champion["embed"], refreshed("embed"))
    ]
    assert vectors[1].index.tolist() == items
    changed = {item for item in vectors[0].index if not np.array_equal(vectors[0][item], vectors[1][item])}
    assert changed == {"i5"}


def test_training_goes_on_with_what_is_new_and_a_share_of_the_old(
    refreshed: Callable[[str], Artifact], champion: dict[str, Artifact]
) -> None:
    counts = refreshed("finetune").counts
    train = [a.frame("interactions").query("split == 'train'") for a in (champion["ingest"], refreshed("ingest"))]
    keys = [set(zip(t["user_id"], t["item_id"], t["timestamp"], strict=True)) for t in train]
    assert counts["n_new_events"] == len(keys[1] - keys[0]) > 0
    assert counts["n_known_events"] == len(keys[1] & keys[0])
    assert int(counts["n_train_examples"]) < int(champion["finetune"].counts["n_train_examples"]) / 2
    log = [
        a.frame("training_log").query("split == 'valid'")["loss"] for a in (champion["finetune"], refreshed("finetune"))
    ]
    assert log[1].iloc[0] < log[0].iloc[0]  # it does not start from nothing


def test_sasrec_goes_on_from_the_champions_weights(
    refreshed: Callable[[str], Artifact], champion: dict[str, Artifact], config: Config
) -> None:
    """One epoch at a third of the rate moves known items less than items lie from each other."""
    rows = {
        name: (
            artifact["ingest"].frame("items")["item_id"],
            load_file(artifact["sasrec"].file("sasrec.safetensors"))["decoder.embed_tokens.weight"][1:],
        )
        for name, artifact in (("old", champion), ("new", {s: refreshed(s) for s in ("ingest", "sasrec")}))
    }
    ids, old = rows["old"]
    place = pd.Index(rows["new"][0]).get_indexer(ids)
    moved = np.linalg.norm(rows["new"][1][place] - old, axis=1).mean()
    apart = np.linalg.norm(old - old[np.random.default_rng(1).permutation(len(old))], axis=1).mean()
    assert 0 < moved < apart / 4
    assert refreshed("sasrec").manifest.key.config == champion["sasrec"].manifest.key.config


def test_a_refresh_ranks_no_more_targets_than_it_needs(config: Config, outcome: RefreshOutcome) -> None:
    few = config.model_copy(update={"refresh": config.refresh.model_copy(update={"max_targets": 100})})
    started = refresh.plan_refresh(few, ArtifactStore(few.store))
    assert (started.config.recommend.max_valid_targets, started.config.recommend.max_test_targets) == (100, 100)


def test_known_tokens_keep_their_first_rows(
    refreshed: Callable[[str], Artifact], champion: dict[str, Artifact]
) -> None:
    used = champion["sa_init"].frame("token_semantics")["n_items"].to_numpy() > 0
    old, new = (a.matrix("token_embeddings", "embedding") for a in (champion["sa_init"], refreshed("sa_init")))
    assert np.array_equal(old[used], new[used])
    assert not np.array_equal(old[~used], new[~used]) or not (~used).any()


def test_the_challenger_is_judged_on_the_same_targets_and_promoted(outcome: RefreshOutcome, config: Config) -> None:
    store = ArtifactStore(config.store)
    assert outcome.status == "promoted"  # such a shop cannot tell worse
    assert champion_of(store, "shop") == outcome.model
    last = moves_of(store, "shop")[-1]
    assert "against the champion on" in last.why and last.metrics["n_targets"] >= 50
    assert outcome.summary["n_new_items"] == 3
    assert outcome.summary["n_new_item_targets"] > 0
    assert 0 <= outcome.summary["hr@10_new_items_before_training"] <= 1
    (comparison,) = [a for a in store.list() if a.manifest.key.stage == "compare"]
    metrics = comparison.frame("metrics").set_index(["method", "slice", "metric", "k"])["value"]
    assert metrics["champion", "new items", "hr", 10] == 0  # they are not in its catalogue
    evaluated = [
        a
        for a in store.list()
        if a.manifest.key.parents.get("fuse") == outcome.model and a.manifest.key.stage == "evaluate"
    ]
    own = evaluated[-1].frame("metrics").set_index(["method", "slice", "metric", "k"])["value"]
    assert metrics["challenger", "all", "ndcg", 10] == pytest.approx(own["fused", "all", "ndcg", 10])


def test_drift_is_measured_and_asks_for_a_rebuild(
    outcome: RefreshOutcome, refreshed: Callable[[str], Artifact]
) -> None:
    drift = outcome.summary
    assert drift["new_items"] == drift["placed_items"] == pytest.approx(3 / 51, abs=1e-5)
    assert drift["n_new_events"] >= 50 and drift["n_late_events"] == drift["n_gone_events"] == 0
    assert drift["n_held_out_events_known"] == 0
    assert drift["new_users"] == 0 and drift["new_item_events"] > 0
    assert drift["quantization_error_new"] > 2 * drift["quantization_error_known"]
    # Glue sticks are like nothing that the codebooks were made for.
    assert len(outcome.rebuild) == 1 and "times worse than known ones" in outcome.message
    assert refreshed("sids").counts["n_items_placed"] == 3


def test_lists_of_few_items_are_not_promoted(outcome: RefreshOutcome, config: Config) -> None:
    (comparison,) = [a for a in ArtifactStore(config.store).list() if a.manifest.key.stage == "compare"]
    sids = refresh.bases.bases_of(Lineage(ArtifactStore(config.store)), ArtifactStore(config.store).open(outcome.model))
    strict = with_overrides(config, ["refresh.min_coverage=5"])
    decision = decide_promotion(comparison, sids["sids"], strict, outcome.model, [])
    assert not decision.promotes and "below refresh.min_coverage=5" in decision.why
    assert decide_promotion(comparison, sids["sids"], config, outcome.model, []).promotes


def test_new_items_can_be_recommended(outcome: RefreshOutcome, config: Config) -> None:
    door = Recommender.open(config.store, "shop")
    (found,) = door.recommend([["n0", "i1"]], k=51)
    assert set(NEW_ITEMS) <= {item.item_id for item in found}


@pytest.fixture(scope="module")
def served(champion: dict[str, Artifact], config: Config) -> Artifact:
    return fit_served(ArtifactStore(config.store), champion["fuse"], config)


def test_members_of_a_promoted_model_are_fitted_to_serve(outcome: RefreshOutcome, config: Config) -> None:
    store = ArtifactStore(config.store)
    assert find_served(Lineage(store), store.open(outcome.model)) is not None


def test_members_that_have_seen_everything_serve_and_are_not_measured(
    served: Artifact, champion: dict[str, Artifact], config: Config
) -> None:
    lineage, events = Lineage(ArtifactStore(config.store)), champion["ingest"].frame("interactions")
    serving = Recommender.from_artifact(lineage, champion["fuse"], "popular")
    measured = Recommender.from_artifact(lineage, champion["fuse"], "popular", as_measured=True)
    assert measured.catalogue.train_counts.sum() == (events["split"] == "train").sum() < len(events)
    counts = events["item_id"].value_counts().reindex(serving.catalogue.item_ids, fill_value=0)
    assert serving.catalogue.train_counts.tolist() == counts.tolist()
    (shown,) = serving.recommend([[]], k=48)
    assert [counts[item.item_id] for item in shown] == sorted(counts, reverse=True)
    fused = Recommender.from_artifact(lineage, champion["fuse"]).recommend([["i1", "i7"]], k=10)
    assert fused != Recommender.from_artifact(lineage, champion["fuse"], as_measured=True).recommend(
        [["i1", "i7"]], k=10
    )


def test_the_model_of_a_refresh_is_found_by_its_settings_and_collection_spares_what_serves(
    outcome: RefreshOutcome, champion: dict[str, Artifact], served: Artifact, config: Config
) -> None:
    assert pipeline.find_finished(config)[1].fingerprint == outcome.model
    store = ArtifactStore(config.store)
    collect(store, find_garbage(store, keep=1))
    wanted = {champion["fuse"].fingerprint, served.fingerprint, outcome.model}
    assert wanted <= {artifact.fingerprint for artifact in store.list()}
    assert Recommender.open(store, "shop").recommend([["i1"]], k=1)


def test_a_refused_challenger_leaves_the_champion(
    outcome: RefreshOutcome, champion: dict[str, Artifact], config: Config, data: Path
) -> None:
    """Runs last: the data grow once more. As if the first champion had measured better than the second."""
    first = champion["fuse"].fingerprint
    promote(ArtifactStore(config.store), "shop", outcome.model, "again", {}, best=first)
    with (data / "interactions.csv").open("a", encoding="utf-8") as stream:
        stream.writelines(f"u{user},i{user % 6},300\n" for user in range(20))
    store = ArtifactStore(config.store)
    strict = with_overrides(config, ["refresh.min_targets=1000"])
    refused = refresh.run(strict)
    assert refused.status == "not promoted" and "fewer than refresh.min_targets=1000" in refused.why
    assert champion_of(store, "shop") == outcome.model
    built = {a.fingerprint: a.manifest.created for a in store.list()}
    assert refresh.run(config).status == "promoted"  # the same challenger: nothing is built again but the judgement
    assert {a.fingerprint: a.manifest.created for a in store.list()} == built
    assert champion_of(store, "shop") == refused.model
    (comparison,) = [a for a in store.list() if a.manifest.key.parents.get("fuse:best") == first]
    values = comparison.frame("metrics").set_index(["method", "slice", "metric", "k"])["value"]
    ahead = values["challenger", "all", "ndcg", 10] - values["best champion", "all", "ndcg", 10]
    ahead_of_both = ahead >= 0 and moves_of(store, "shop")[-1].metrics["ahead in ndcg@10"] >= 0
    assert moves_of(store, "shop")[-1].best == (None if ahead_of_both else first)


def test_what_a_person_rolled_back_does_not_come_back_by_itself(config: Config, outcome: RefreshOutcome) -> None:
    store = ArtifactStore(config.store)
    away = champion_of(store, "shop")
    roll_back(store, "shop", "users complained")
    again = refresh.run(config)
    assert (again.status, again.model) == ("not promoted", away)
    assert "rolled back" in again.why and "users complained" in again.why
    assert champion_of(store, "shop") == outcome.model
    promote(store, "shop", again.model, "by hand", {})
    assert refresh.run(config).status == "nothing new"


def test_other_settings_than_the_champions_are_refused(config: Config, outcome: RefreshOutcome, data: Path) -> None:
    with (data / "interactions.csv").open("a", encoding="utf-8") as stream:
        stream.write("u1,i1,400\n")
    with pytest.raises(ConfigError, match=r"sids\.seed is 5, and the champion was made with 1"):
        refresh.run(with_overrides(config, ["sids.seed=5"]))
    with pytest.raises(ConfigError, match=r"sids\.cooccurrence is 0\.0, and the champion was made with 0\.5;"):
        refresh.run(with_overrides(config, ["sids.cooccurrence=0"]))


def test_another_seed_of_fine_tuning_is_not_refused(config: Config, outcome: RefreshOutcome, data: Path) -> None:
    """Random SID rows come from that seed too, and a refresh keeps the champion's rows."""
    with (data / "interactions.csv").open("a", encoding="utf-8") as stream:
        stream.write("u1,i1,401\n")
    other = refresh.plan_refresh(with_overrides(config, ["finetune.seed=5"]), ArtifactStore(config.store))
    assert all(other.stages[name].bases for name in ("sa_init", "finetune"))


def test_a_rebuild_starts_where_configured_is_judged_and_once_refused_is_not_made_again_every_night(
    config: Config, outcome: RefreshOutcome, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The space is full of nothing here: drift is above its bound again, for the new items are still new."""
    store = ArtifactStore(config.store)
    before = champion_of(store, "shop")
    bound = [
        "refresh.rebuild=start",
        "refresh.drift.max_placed_items=0.01",
        "refresh.promote=never",
        "refresh.refit=true",
    ]
    rebuilt = refresh.run(with_overrides(config, bound))
    assert rebuilt.status == "not promoted" and not rebuilt.rebuild  # a rebuild asks for none
    assert rebuilt.model != before == champion_of(store, "shop")
    assert find_served(Lineage(store), store.open(rebuilt.model)) is None
    made = refresh.bases.bases_of(Lineage(store), store.open(rebuilt.model))
    assert not any(is_base(role) for name in made if name != "ingest" for role in made[name].manifest.key.parents)
    assert base_role("ingest") in made["ingest"].manifest.key.parents  # judged on what the champion did not learn from
    assert rebuilt.summary["placed_items"] == 0
    with (data / "interactions.csv").open("a", encoding="utf-8") as stream:
        stream.write("u1,i1,500\n")
    next_night = refresh.run(with_overrides(config, bound))
    assert next_night.status == "not promoted" and next_night.rebuild  # it asks for one, and has made none
    assert "none starts by itself again" in caplog.text


def test_without_a_champion_a_refresh_builds_everything(config: Config, tmp_path: Path) -> None:
    quick = [f"store={tmp_path}", "members.methods=[popular]", "evaluate.baseline=popular", "finetune.epochs=1"]
    first = refresh.run(with_overrides(config, [*quick, "decode.beams=10"]))
    assert first.status == "first"
    assert champion_of(ArtifactStore(tmp_path), "shop") == first.model
