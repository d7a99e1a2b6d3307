"""What `tsrec run`, `refresh`, `ablation` and `recommend` do and print. Heavy imports wait inside the functions."""

import contextlib
import gc
import os
import shlex
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from flows.terminal import print_json
from tsrec.columns import Columns as C
from tsrec.config import BatchRequest, Config, load_config, load_grid
from tsrec.config.profiles import refusal
from tsrec.errors import ConfigError, LostRunsError
from tsrec.machine.addresses import is_url
from tsrec.store import ArtifactStore
from tsrec.store.champions import champion_of

if TYPE_CHECKING:
    from tsrec.recommenders.recommender import Recommender
    from tsrec.store.shared_shards import Distribute

_NAMED = 5  # unknown items of a history


def run(options: Namespace) -> None:
    """Build what is missing, then print the metrics, where the report is, and what to try next."""
    config = load_config(options.profile, options.set)
    if not options.no_prefect:
        from flows import server

        server.check_configured()
    from tsrec import pipeline

    pipeline.check(config)  # a flow would say it later, once its server has started, and twice
    if options.no_prefect:
        artifacts = pipeline.run(config, force_from=options.force_from)
    else:
        from flows.train import train

        artifacts = train(config, options.force_from)
    from tsrec.data.data_quality import data_quality_lines
    from tsrec.evaluate.intervals import CONFIDENCE
    from tsrec.evaluate.summary import headline, metrics_table

    fuse, evaluate = artifacts["fuse"], artifacts["evaluate"]
    differences = evaluate.frame("differences")
    print(f"\n{config.dataset}, {config.evaluate.split} targets, {CONFIDENCE:.0%} intervals over users")
    print(metrics_table(evaluate.frame("metrics"), differences).to_string())
    print(headline(differences))
    if lost := data_quality_lines(artifacts["ingest"]):
        print("\n".join(["\nof the raw data:", *(f"  {line}" for line in lost)]))
    print(f"\nreport: {artifacts['report'].file('report.html')}")
    champion = champion_of(ArtifactStore(config.store), config.dataset)
    is_champion = champion == fuse.fingerprint
    print(f"model:  {fuse.fingerprint} ({'the champion' if is_champion else f'the champion is {champion}'})")
    print("\ntry next:")
    user = fuse.frame("recommendations", [C.USER])[C.USER].iloc[0]
    same = [options.profile] if options.profile else []
    same += [part for override in options.set for part in ("--set", override)]
    other = [] if is_champion else ["--model", fuse.fingerprint]
    here = not is_url(config.store) and Path(config.store).absolute() == Path(Config().store).absolute()
    elsewhere = [] if here else ["--store", config.store]
    for command in (
        ["recommend", *same, *other, f"--user={user}"],  # one word: a user id may begin with a dash
        ["run", *same, "--set", "evaluate.k=[1,5,20]"],
        ["serve", *same],
        ["api", config.dataset, *elsewhere, *other],
    ):
        print(f"  {shlex.join([*_program(), *command])}")


def refresh(options: Namespace) -> None:
    """Take new data up, and print what was measured and decided."""
    config = load_config(options.profile, options.set)
    if not options.no_prefect:
        from flows import server

        server.check_configured()
        from flows.refresh import refresh as flow

        print(flow(config))
        return
    from tsrec import refresh as refreshing

    outcome = refreshing.run(config)
    for name, value in outcome.summary.items():
        print(f"  {name:36s} {value:,.4f}" if isinstance(value, float) else f"  {name:36s} {value:,}")
    print(outcome.message)


def ablation(options: Namespace) -> None:
    """Say what is planned; build and measure it; print the tables, those of what is left where a run failed too."""
    from tsrec import ablation as ablations

    given = {name: value for name in ("seeds", "split", "out") if (value := getattr(options, name)) is not None}
    asked, configs = load_grid(options.grid, options.set, **given)
    plan = ablations.plan_ablation(asked, configs)
    print("\n".join(plan.summary_lines()), flush=True)
    if options.dry_run:
        return
    lost = None
    try:
        if options.no_prefect:
            ablations.write_results(ablations.build_ablation(plan)).check()
        else:
            from flows import server

            server.check_configured()
            from flows.ablation import ablation as flow

            flow(configs[0], asked, configs[1:])
    except LostRunsError as error:
        lost = error
    folder = Path(asked.folder).expanduser()
    print(f"\n{(folder / 'table.md').read_text(encoding='utf-8')}\ntables and pictures: {folder}")
    if lost:
        raise lost


def recommend(options: Namespace) -> None:
    """Print the list of one user or history, or write those of many users as Parquet parts."""
    if bool(options.users) != bool(options.out):
        options.refuse("--users FILE|all and --out FOLDER go together")
    given = {name: getattr(options, name) for name in BatchRequest.model_fields if hasattr(options, name)}
    try:
        request = BatchRequest.model_validate({name: value for name, value in given.items() if value not in (None, "")})
    except ValidationError as error:
        raise refusal(error, "recommend, ") from None
    if options.users:
        _recommend_users(options, request)
    else:
        _recommend_one(options, request)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """For what imports thousands of modules and then ends: the collector would visit their objects again and again,
    and once more when the process ends. Together that takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


@_no_garbage_collection()
def _recommend_one(options: Namespace, request: BatchRequest) -> None:
    """Print K titles with who proposed them, their SIDs and the meaning of every token; or one JSON object."""
    from tsrec import pipeline
    from tsrec.recommenders.batch import allowed_items
    from tsrec.recommenders.explain import Explainer
    from tsrec.recommenders.recommender import Recommender

    config = load_config(options.profile, options.set)
    lineage, fuse = pipeline.resolve_model(config, request.model)
    recommender = Recommender.from_artifact(lineage, fuse, request.method, "forbidden" if request.no_repeats else None)
    explainer = Explainer(lineage, fuse)
    past = explainer.history_of(options.user) if options.user is not None else options.history
    past = _known(past, recommender, config)
    (found,) = recommender.recommend([past], request.k, allowed_items(recommender, request))
    if options.json:
        rows = [
            {"rank": rank, **asdict(item), **explainer.describe(item.item_id)} for rank, item in enumerate(found, 1)
        ]
        print_json({"model": fuse.fingerprint, "user": options.user, "history": past, "recommendations": rows})
        return
    print("history (the newest last):")
    for item in past[-5:]:
        print(f"    {explainer.describe(item)['title']}  [{item}]")
    for rank, recommended in enumerate(found, start=1):
        about = explainer.describe(recommended.item_id)
        score = "popular" if recommended.score is None else f"score {recommended.score:.3f}"
        by = f", proposed by {', '.join(recommended.proposed_by)}" if recommended.proposed_by else ""
        print(f"{rank:2d}. {about['title']}  [{recommended.item_id}]  {score}{by}")
        for token, words in about["tokens"].items():
            print(f"      {token:>8}  {', '.join(words[:4]) or '(no keywords)'}")


def _known(past: Sequence[str], recommender: "Recommender", config: Config) -> list[str]:
    """The items of a history that the catalogue has; says which it lacks. Raises ConfigError where it has none."""
    unknown = list(dict.fromkeys(recommender.unknown(past)))
    if not unknown:
        return list(past)
    known = [item for item in past if item not in unknown]
    named = f"{', '.join(map(repr, unknown[:_NAMED]))}{' ...' if len(unknown) > _NAMED else ''}"
    lacks = f"the catalogue of {config.dataset} lacks {len(unknown)} of {len(set(past))} items of the history: {named}"
    if not known:
        examples = ", ".join(recommender.catalogue.item_ids[:3])
        raise ConfigError(f"{lacks}; ids are those of the raw data, e.g. {examples}")
    print(f"tsrec: {lacks}; the others count", file=sys.stderr)
    return known


def _recommend_users(options: Namespace, request: BatchRequest) -> None:
    """Write the lists of many users as Parquet parts, and print what was counted."""
    from tsrec import pipeline
    from tsrec.recommenders.batch import recommend_users

    lineage, fuse = pipeline.resolve_model(load_config(options.profile, options.set), request.model)
    with _distributor() as distribute:
        batch = recommend_users(lineage, fuse, request, distribute)
    if options.json:
        print_json({"model": fuse.fingerprint, "folder": str(batch.folder), **batch.counts})
        return
    print(f"{batch.folder}: {len(batch.parts)} parts by model {fuse.fingerprint}")
    for name, count in batch.counts.items():
        print(f"  {name:24s} {count:,}")


def _distributor() -> contextlib.AbstractContextManager["Distribute | None"]:
    """Has the workers of a Dask cluster make parts, where the environment names one. Prefect is loaded only then."""
    if not os.environ.get("TSREC_DASK", "").strip():
        return contextlib.nullcontext()
    from tasks.dask_shards import distributor_by_environment

    return distributor_by_environment()


def _program() -> list[str]:
    """How this program was called, as a shell in the same folder takes it again."""
    called = sys.argv[0]
    if called.endswith(".py") or not Path(called).is_file():  # python -m flows.cli, or from within another program
        return [sys.executable, "-m", "flows.cli"]
    return ["tsrec"] if shutil.which("tsrec") == called else [called]
