"""The command line: argument parsing only, and no library for it, so that --help answers at once.

Each command names the function that does it; its module is imported when the command is given.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any, TypeAlias

from flows import terminal
from tsrec import __version__
from tsrec.errors import TsrecError

_DESCRIPTION = (
    "Make a recommender from item texts and interaction logs: several members, one an LLM, fused into one list."
)
_EXAMPLES = """examples:
  tsrec run configs/demo.yaml                       MovieLens-100K, nothing else needed
  tsrec run configs/industrial.yaml --set ingest.path=FOLDER
  tsrec run configs/demo.yaml --set finetune.epochs=2 --set decode.beams=20
  tsrec refresh configs/demo.yaml                   take in new data without starting over
  tsrec ablation configs/ablations/sa-init-ts-align.yaml --dry-run
  tsrec recommend configs/demo.yaml --user=42
  tsrec recommend configs/demo.yaml --history 1,50,181 -k 5
  tsrec recommend configs/demo.yaml --users all --out recommendations
  tsrec artifacts list
  tsrec serve configs/demo.yaml                     run it from the browser
  tsrec api ml-100k                                 a recommendation server, and a page that explains it

A run that was stopped goes on where it was: give the same command again."""
_ABLATION = """Build every variant of a grid on every data set with every seed, and compare them on the same targets.
The table has means over seeds, and paired differences from the reference with intervals over users.
Artifacts that runs share are built once. The folder holds table.md, figures and training logs as Parquet, and pictures.

By default only the LLM is built and measured. `fused: true` in the grid adds the other members.
With `split: test` as well, the table says what the LLM adds to the fusion.
A variant that fails is named in the table, and the others go on. The exit status is then 1."""
_ABLATION_EXAMPLES = """a grid:
  datasets:
    - profile: ../industrial.yaml
    - {profile: ../beauty.yaml, set: [finetune.epochs=3]}
  variants:
    - name: full
    - {name: random start, set: [sa_init.initializer=random]}
  reference: full
  seeds: [1, 2, 3]
  split: valid            # choose on valid; test is read once

examples:
  tsrec ablation configs/ablations/sa-init-ts-align.yaml --dry-run
  tsrec ablation configs/ablations/sa-init-ts-align.yaml --seeds 1 --set finetune.epochs=2
  tsrec ablation configs/ablations/sa-init-ts-align.yaml --split test

A grid that was stopped goes on where it was: give the same command again.
Processes with different --seeds may run side by side. A last call with all seeds then finds their runs."""
_API = """Serve recommendations over HTTP, for the pages of a shop. They come from the champion of a data set: its model
that recommends. The page at / is an explorer, and shows why each item is recommended. When there is a new champion,
the server changes to it within seconds.

The server answers this machine alone, unless --host says otherwise. With another --host it wants keys in the
environment variable TSREC_API_KEYS (KEY, or KEY,KEY,...). Every request then brings one of them, as the header
`Authorization: Bearer KEY`. The server writes nothing to the store. SIGTERM or Ctrl-C ends it, once the requests under
way are answered."""
_API_EXAMPLES = """examples:
  tsrec api ml-100k
  tsrec api shop.yaml                               the data set and the store of a profile
  tsrec api shop --store s3://bucket/store --workers 2
  TSREC_API_KEYS=secret tsrec api shop --host 0.0.0.0

ask it:
  curl http://127.0.0.1:8000/recommend --json '{"history": ["50", "181"], "k": 3, "explain": true}'
  curl 'http://127.0.0.1:8000/items?query=star+wars'
The page http://127.0.0.1:8000/docs lists all that can be asked."""
_MODEL_HELP = (
    "the first digits of a model's fingerprint (`tsrec models list`), or `profile` for the newest model with exactly "
    "these settings (default: the champion)"
)
_SET_HELP = "override one setting, e.g. finetune.epochs=2; values are YAML; may be repeated"


_Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status. Deliberate errors print without a traceback and give 1."""
    terminal.replace_unshowable()
    return terminal.quiet_without_reader(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    # Before any library is imported: loading bars and load reports are not ours to show.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("tsrec").setLevel(logging.INFO)
    try:
        return resolve_name(f"flows.{options.command}")(options) or 0
    except TsrecError as error:
        print(f"tsrec: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tsrec",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tsrec {__version__}")
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_run, _add_refresh, _add_ablation, _add_recommend):
        add(parsers)
    for add in (_add_models, _add_artifacts, _add_serve, _add_api):
        add(parsers)
    return parser


def _command(parsers: _Parsers, name: str, function: str, **texts: Any) -> argparse.ArgumentParser:
    """The parser of a command that `function` (`module:function` of this package) does, called with the options."""
    parser = parsers.add_parser(name, formatter_class=argparse.RawDescriptionHelpFormatter, **texts)
    parser.set_defaults(command=function)
    return parser


def _add_run(parsers: _Parsers) -> None:
    what = "build every stage that is missing, then print the metrics and the path of the report"
    run = _command(parsers, "run", "commands:run", help=what)
    _add_config(run)
    _add_no_prefect(run)
    run.add_argument(
        "--force-from", metavar="STAGE", help="build this stage and all that follow again, even if they exist"
    )


def _add_refresh(parsers: _Parsers) -> None:
    what = "take in new data: extend the champion, compare, and promote the new model by `refresh.promote`"
    refresh = _command(parsers, "refresh", "commands:refresh", help=what)
    _add_config(refresh)
    _add_no_prefect(refresh)


def _add_ablation(parsers: _Parsers) -> None:
    what = "compare variants of a configuration over data sets and seeds, in one table"
    ablation = _command(
        parsers, "ablation", "commands:ablation", help=what, description=_ABLATION, epilog=_ABLATION_EXAMPLES
    )
    ablation.add_argument("grid", help="a YAML grid; configs/ablations/ holds some")
    ablation.add_argument("--dry-run", action="store_true", help="only say what would be built, and what is there")
    ablation.add_argument("--seeds", type=int, nargs="+", metavar="N", help="these seeds instead of the grid's")
    ablation.add_argument("--split", choices=("valid", "test"), help="targets to measure, instead of the grid's")
    ablation.add_argument("--out", metavar="FOLDER", help="where tables and pictures go (default ablations/NAME)")
    _add_set(ablation, "a setting of all runs, e.g. finetune.epochs=2; a variant's own settings win; may be repeated")
    _add_no_prefect(ablation)


def _add_recommend(parsers: _Parsers) -> None:
    recommend = _command(parsers, "recommend", "commands:recommend", help="recommend items to a user, or for a history")
    _add_config(recommend)
    who = recommend.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", help="user id: all of the user's events are the history")
    who.add_argument(
        "--history",
        type=_ids,
        metavar="ID,ID,...",
        help="item ids, oldest first, or none; a JSON list if ids hold commas; --history=-A if one begins with -",
    )
    who.add_argument(
        "--users", metavar="FILE|all", help="many users, with --out: `all`, or a text file with one user id per line"
    )
    recommend.add_argument(
        "--out", metavar="FOLDER", help="folder for the Parquet parts of --users; give it again to go on"
    )
    for name, what in (("allow", "only these"), ("deny", "none of these")):
        recommend.add_argument(f"--{name}", metavar="FILE", help=f"item ids, one per line: {what} may be recommended")
    recommend.add_argument(
        "--max-unknown",
        type=_share,
        metavar="SHARE",
        help="stop if more than this share of a file's ids is unknown (default 0.5; 1 for a file of new users)",
    )
    recommend.add_argument("--no-repeats", action="store_true", help="leave out what a user already has")
    recommend.add_argument("-k", type=int, default=10, help="items per list (default 10)")
    recommend.add_argument("--method", default="fused", help="fused (default), or one member: tsrec, transitions, ...")
    recommend.add_argument("--model", metavar="FINGERPRINT", help=_MODEL_HELP)
    recommend.add_argument("--json", action="store_true", help="one JSON object instead of text")
    recommend.set_defaults(refuse=recommend.error)


def _add_models(parsers: _Parsers) -> None:
    models = parsers.add_parser("models", help="finished models of a data set; the champion is the one that recommends")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    what = "every finished model, oldest first; the champion has a star"
    listing = _command(actions, "list", "model_commands:list_models", help=what)
    what = "when the champion changed, from what to what, why, and by which metrics"
    show = _command(actions, "show", "model_commands:show_models", help=what)
    promote = _command(actions, "promote", "model_commands:promote", help="make a model the champion")
    promote.add_argument("--model", metavar="FINGERPRINT", help="its first digits (default: the newest)")
    what = "make the champion before the present one the champion again"
    rollback = _command(actions, "rollback", "model_commands:rollback", help=what)
    for action in (listing, show, promote, rollback):
        _add_config(action)
    for action in (promote, rollback):
        action.add_argument("--why", default="by hand", help="kept in the history")


def _add_artifacts(parsers: _Parsers) -> None:
    artifacts = parsers.add_parser("artifacts", help="look after the artifact store")
    actions = artifacts.add_subparsers(required=True, metavar="ACTION")
    listing = _command(actions, "list", "artifact_commands:show_all", help="every finished artifact, oldest first")
    show = _command(actions, "show", "artifact_commands:show", help="the manifest of one artifact")
    show.add_argument("fingerprint", help="the first digits of its fingerprint")
    what = "check every file against its hash; exit 1 where one differs"
    verify = _command(actions, "verify", "artifact_commands:verify", help=what)
    what = "remove what no recent run uses, and replaced leftovers of killed runs"
    gc = _command(actions, "gc", "artifact_commands:collect_garbage", help=what)
    gc.add_argument("--keep", type=_positive, default=1, help="newest finished runs kept per profile (default 1)")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    for action in (listing, show, verify, gc):
        action.add_argument("--store", default="artifacts", help="folder or fsspec URL (default artifacts)")


def _add_serve(parsers: _Parsers) -> None:
    what = "run the flows from the browser or on a schedule; starts a Prefect server if there is none"
    serve = _command(parsers, "serve", "serve:serve", help=what)
    serve.add_argument("profiles", nargs="*", metavar="profile", help="YAML profiles (default: MovieLens-100K)")
    _add_set(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address of a new server (default 127.0.0.1)")
    serve.add_argument("--port", type=_port, default=4200, help="port of a new server (default 4200)")
    serve.add_argument("--limit", type=_positive, default=1, help="runs per data set at a time (default 1)")
    serve.add_argument(
        "--schedule",
        metavar="CRON",
        help="when to refresh, e.g. '0 3 * * *' (default: as set in the UI, off at first)",
    )
    serve.add_argument("--timezone", metavar="NAME", help="time zone of --schedule, e.g. Europe/Berlin (default UTC)")
    serve.add_argument(
        "--without-auth", action="store_true", help="with --host: let other machines in without a password"
    )


def _add_api(parsers: _Parsers) -> None:
    what = "serve the champion of a data set over HTTP, with a page that explains what it recommends"
    api = _command(parsers, "api", "api:api", help=what, description=_API, epilog=_API_EXAMPLES)
    api.add_argument("dataset", help="name of a data set, or a YAML profile of one")
    _add_set(api)
    api.add_argument("--store", help="folder or fsspec URL of the artifacts (default: the profile's, else artifacts)")
    api.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all (default 127.0.0.1)")
    api.add_argument("--port", type=_port, default=8000, help="port to listen on (default 8000)")
    api.add_argument("--workers", type=_positive, default=1, metavar="N", help="number of processes (default 1)")
    api.add_argument(
        "--deadline-ms",
        type=_positive,
        default=150,
        metavar="MS",
        help="milliseconds that a list may take; a recommender that takes longer is left out, and named (default 150)",
    )
    api.add_argument(
        "--model",
        metavar="FINGERPRINT",
        help="serve this model alone, named by the first digits of its fingerprint (default: always the champion)",
    )
    api.add_argument("--without-auth", action="store_true", help="let other machines ask without a key")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("profile", nargs="?", help="a YAML profile (default: MovieLens-100K)")
    _add_set(parser)


def _add_set(parser: argparse.ArgumentParser, what: str = _SET_HELP) -> None:
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help=what)


def _add_no_prefect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-prefect", action="store_true", help="run the same stages without Prefect")


def _ids(text: str) -> list[str]:
    """Ids of a JSON list, which can hold any; else what stands between commas."""
    if text.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            ids = json.loads(text)
            if isinstance(ids, list) and all(isinstance(item, str | int) for item in ids):
                return [str(item) for item in ids]
    return [item.strip() for item in text.split(",") if item.strip()]


def _positive(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _port(text: str) -> int:
    if (port := _positive(text)) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number from 1 to 65535")
    return port


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value:g} is not between 0 and 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
