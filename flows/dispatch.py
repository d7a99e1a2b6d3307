"""From a parsed command line to the command: which function it calls, with what."""

import argparse
from collections.abc import Callable

from pydantic import ValidationError

from flows import commands, model_commands
from tsrec.config import BatchRequest
from tsrec.config.profiles import refusal


def dispatch(options: argparse.Namespace) -> int | None:
    """Do what the command line asks for; the exit status where it is not 0."""
    return _COMMANDS[options.command](options)


def _ablation(options: argparse.Namespace) -> None:
    options_given = {
        name: getattr(options, name) for name in ("seeds", "split", "out") if getattr(options, name) is not None
    }
    commands.ablation(
        options.grid, options.set, options_given, dry_run=options.dry_run, with_prefect=not options.no_prefect
    )


def _recommend(options: argparse.Namespace) -> None:
    if bool(options.users) != bool(options.out):
        options.refuse("--users FILE|all and --out FOLDER go together")
    options_given = {
        "users": options.users,
        "out": options.out,
        "model": options.model,
        "allow": options.allow,
        "deny": options.deny,
    }
    options_given = {name: value for name, value in options_given.items() if value}
    if options.max_unknown is not None:
        options_given["max_unknown"] = options.max_unknown
    try:
        wish = BatchRequest(k=options.k, method=options.method, no_repeats=options.no_repeats, **options_given)
    except ValidationError as error:
        raise refusal(error, "recommend, ") from None
    if options.users:
        commands.recommend_users(options.profile, options.set, wish, as_json=options.json)
    else:
        commands.recommend(options.profile, options.set, options.user, options.history, wish, as_json=options.json)


def _serve(options: argparse.Namespace) -> None:
    commands.serve(
        options.profiles,
        options.set,
        options.host,
        options.port,
        limit=options.limit,
        schedule=options.schedule,
        timezone=options.timezone,
        without_auth=options.without_auth,
    )


def _api(o: argparse.Namespace) -> None:
    from flows.api import api

    api(
        o.dataset,
        o.set,
        o.store,
        o.host,
        o.port,
        workers=o.workers,
        deadline_ms=o.deadline_ms,
        without_auth=o.without_auth,
        model=o.model,
    )


_COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "run": lambda options: commands.run(
        options.profile, options.set, with_prefect=not options.no_prefect, force_from=options.force_from
    ),
    "refresh": lambda options: commands.refresh(options.profile, options.set, with_prefect=not options.no_prefect),
    "ablation": _ablation,
    "recommend": _recommend,
    "models list": lambda options: model_commands.list_models(options.profile, options.set),
    "models show": lambda options: model_commands.show_models(options.profile, options.set),
    "models promote": lambda options: model_commands.promote(options.profile, options.set, options.model, options.why),
    "models rollback": lambda options: model_commands.rollback(options.profile, options.set, options.why),
    "artifacts list": lambda options: commands.list_artifacts(options.store),
    "artifacts show": lambda options: commands.show_artifact(options.store, options.fingerprint),
    "artifacts verify": lambda options: commands.verify_artifacts(options.store),
    "artifacts gc": lambda options: commands.collect_garbage(options.store, options.keep, options.dry_run),
    "serve": _serve,
    "api": _api,
}
