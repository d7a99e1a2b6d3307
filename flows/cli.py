"""The command line: argument parsing and printing only."""

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence

from tsrec import __version__
from tsrec.columns import Columns as C
from tsrec.config import Config, load_config
from tsrec.errors import ConfigError, TsrecError
from tsrec.store import Artifact, ArtifactStore

_EXAMPLES = """examples:
  tsrec run                                             the demo: MovieLens-100K, nothing else needed
  tsrec run configs/industrial.yaml --set ingest.path=FOLDER
  tsrec run configs/demo.yaml --set finetune.epochs=2 --set evaluate.beams=50
  tsrec recommend configs/demo.yaml --history 1,50,181
  tsrec artifacts list
  tsrec serve                                           a Prefect server with the train deployment
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status. Deliberate errors print without a traceback."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("tsrec").setLevel(logging.INFO)
    try:
        options.command(options)
    except TsrecError as error:
        print(f"tsrec: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tsrec",
        description="From item texts and interaction logs to an LLM recommender whose item tokens mean something.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="build every stage that does not exist yet; print metrics and report")
    _add_config(run)
    run.add_argument("--no-prefect", action="store_true", help="the same stages without the Prefect flow")
    run.set_defaults(command=_run)
    recommend = commands.add_parser("recommend", help="recommend items to a user or for a history")
    _add_config(recommend)
    who = recommend.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", help="user id: all of the user's events are the history")
    who.add_argument("--history", metavar="ID,ID,...", help="item ids, oldest first")
    recommend.add_argument("-k", type=int, default=10, help="how many items (default 10)")
    recommend.set_defaults(command=_recommend)
    artifacts = commands.add_parser("artifacts", help="look after the artifact store")
    artifacts.add_argument("action", choices=["list", "show", "verify", "gc"])
    artifacts.add_argument("fingerprint", nargs="?", help="for show: the first digits of a fingerprint")
    artifacts.add_argument("--store", default="artifacts", help="folder or fsspec URL (default artifacts)")
    artifacts.add_argument("--keep", type=int, default=1, help="gc: reports kept per data set (default 1)")
    artifacts.add_argument("--dry-run", action="store_true", help="gc: only say what would go")
    artifacts.set_defaults(command=_artifacts)
    serve = commands.add_parser("serve", help="serve the train deployment, starting a Prefect server if need be")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=4200)
    serve.set_defaults(command=_serve)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("profile", nargs="?", help="a YAML profile; without one, the demo's defaults")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="override any field; repeatable"
    )


def _run(options: argparse.Namespace) -> None:
    config = load_config(options.profile, options.set)
    if options.no_prefect:
        from tsrec import pipeline

        artifacts = pipeline.run(config)
        evaluate, report = artifacts["evaluate"], artifacts["report"]
    else:
        from flows.train import train

        train(config)
        evaluate, report = _finished(config, "evaluate"), _finished(config, "report")
    from tsrec.evaluate.summary import metrics_table

    print(f"\n{metrics_table(evaluate.frame('metrics')).to_string()}\n\nreport: {report.file('report.html')}\n")
    profile = f" {options.profile}" if options.profile else ""
    user = evaluate.frame("recommendations", [C.USER])[C.USER].iloc[0]
    print("try next:")
    print(f"  tsrec recommend{profile} --user {user}")
    print(f"  tsrec run{profile} --set evaluate.beams=50")
    print("  tsrec serve")


def _recommend(options: argparse.Namespace) -> None:
    from tsrec.evaluate import load_recommender
    from tsrec.sid import format_token

    config = load_config(options.profile, options.set)
    ingest, sids, sa_init = (_finished(config, stage) for stage in ("ingest", "sids", "sa_init"))
    recommender, histories, item_ids = load_recommender(
        ingest,
        sids,
        _finished(config, "finetune"),
        n_beams=config.evaluate.beams,
        max_history=config.evaluate.max_history,
        exclude_seen=config.evaluate.exclude_seen,
        device=config.evaluate.device,
    )
    if options.user is not None:
        past = histories.items_of_user(options.user)
    else:
        number = {item: index for index, item in enumerate(item_ids)}
        unknown = [item for item in options.history.split(",") if item not in number]
        if unknown:
            raise ConfigError(f"--history: no item {unknown[0]!r} in the catalogue of {config.dataset}")
        past = [number[item] for item in options.history.split(",")]
    import numpy as np

    titles = ingest.frame("items", [C.TITLE])[C.TITLE].tolist()
    words = {r.token: list(r.keywords[:4]) for r in sa_init.frame("token_semantics").itertuples(index=False)}
    print("history: " + "; ".join(titles[item] for item in past[-5:]) + "\n")
    ((items, scores),) = recommender.recommend([np.array(past, dtype=np.int64)], options.k)
    for rank, (item, score) in enumerate(zip(items, scores, strict=True), start=1):
        tokens = [format_token(level, int(code)) for level, code in enumerate(recommender.codes[item])]
        print(f"{rank:2d}. {titles[item]}  [{item_ids[item]}]  {''.join(tokens)}  {score:.3f}")
        for token in tokens:
            print(f"      {token}: {', '.join(words.get(token, [])) or 'no items in the catalogue'}")


def _artifacts(options: argparse.Namespace) -> None:
    store = ArtifactStore(options.store)
    if options.action == "show":
        if not options.fingerprint:
            raise ConfigError("artifacts show: name a fingerprint; see `tsrec artifacts list`")
        print(store.open(options.fingerprint).manifest.to_json())
    elif options.action == "gc":
        _collect(store, options.keep, options.dry_run)
    else:
        for artifact in store.list():
            key, size = artifact.manifest.key, sum(entry.n_bytes for entry in artifact.manifest.files.values())
            checked = ""
            if options.action == "verify":
                checked = "  ok" if store.find(key) else "  CORRUPT, set aside: run the pipeline again"
            print(
                f"{artifact.manifest.created}  {key.fingerprint}  {key.dataset:16s} {key.stage:10s} "
                f"{size / 1e6:9.1f} MB{checked}"
            )


def _collect(store: ArtifactStore, keep: int, dry_run: bool) -> None:
    from tsrec.store.gc import collectable

    stale, leftovers = collectable(store, keep)
    for artifact in stale:
        print(f"{'would remove' if dry_run else 'removed'} {artifact.manifest.key.path}")
        if not dry_run:
            store.delete(artifact.manifest.key)
    for path in leftovers:
        print(f"{'would remove' if dry_run else 'removed'} {path.relative_to(store.root)}")
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)


def _serve(options: argparse.Namespace) -> None:
    from flows.serve import serve

    serve(options.host, options.port)


def _finished(config: Config, stage: str) -> Artifact:
    from tsrec import pipeline

    artifact = ArtifactStore(config.store).find(pipeline.plan(config)[stage].key)
    if artifact is None:
        raise ConfigError(
            f"{config.dataset}: no {stage} artifact for this configuration; run `tsrec run` with it first"
        )
    return artifact


if __name__ == "__main__":
    sys.exit(main())
