"""From a parsed command line to the command: which function it calls, with what."""

import argparse
from collections.abc import Callable

from pydantic import ValidationError

from flows import commands, model_commands
from tsrec.config import BatchRequest
from tsrec.config.profiles import refusal


def dispatch(o: argparse.Namespace) -> int | None:
    """Do what the command line asks for; the exit status where it is not 0."""
    return _COMMANDS[o.command](o)


def _ablation(o: argparse.Namespace) -> None:
    given = {name: getattr(o, name) for name in ("seeds", "split", "out") if getattr(o, name) is not None}
    commands.ablation(o.grid, o.set, given, dry_run=o.dry_run, with_prefect=not o.no_prefect)


def _recommend(o: argparse.Namespace) -> None:
    if bool(o.users) != bool(o.out):
        o.refuse("--users FILE|all and --out FOLDER go together")
    given = {"users": o.users, "out": o.out, "model": o.model, "allow": o.allow, "deny": o.deny}
    given = {name: value for name, value in given.items() if value}
    if o.max_unknown is not None:
        given["max_unknown"] = o.max_unknown
    try:
        wish = BatchRequest(k=o.k, method=o.method, no_repeats=o.no_repeats, **given)
    except ValidationError as error:
        raise refusal(error, "recommend, ") from None
    if o.users:
        commands.recommend_users(o.profile, o.set, wish, as_json=o.json)
    else:
        commands.recommend(o.profile, o.set, o.user, o.history, wish, as_json=o.json)


def _serve(o: argparse.Namespace) -> None:
    commands.serve(
        o.profiles,
        o.set,
        o.host,
        o.port,
        limit=o.limit,
        schedule=o.schedule,
        timezone=o.timezone,
        without_auth=o.without_auth,
    )


_COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "run": lambda o: commands.run(o.profile, o.set, with_prefect=not o.no_prefect, force_from=o.force_from),
    "refresh": lambda o: commands.refresh(o.profile, o.set, with_prefect=not o.no_prefect),
    "ablation": _ablation,
    "recommend": _recommend,
    "models list": lambda o: model_commands.list_models(o.profile, o.set),
    "models show": lambda o: model_commands.show_models(o.profile, o.set),
    "models promote": lambda o: model_commands.promote(o.profile, o.set, o.model, o.why),
    "models rollback": lambda o: model_commands.rollback(o.profile, o.set, o.why),
    "artifacts list": lambda o: commands.list_artifacts(o.store),
    "artifacts show": lambda o: commands.show_artifact(o.store, o.fingerprint),
    "artifacts verify": lambda o: commands.verify_artifacts(o.store),
    "artifacts gc": lambda o: commands.collect_garbage(o.store, o.keep, o.dry_run),
    "serve": _serve,
}
