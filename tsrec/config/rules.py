"""Rules that span sections: settings that are each possible, and together unfair or without sense.

One function per rule: it takes the whole configuration and says what is wrong, naming every field, and what to do; or
None. What a section can say by itself (bounds, one of its fields against another) stands in the section.
"""

from collections.abc import Callable

from tsrec.columns import LLM
from tsrec.config.sections import Sections

Rule = Callable[[Sections], str | None]


def broken_rules(config: Sections) -> list[str]:
    """What is wrong with `config`, one message per broken rule."""
    return [message for rule in _RULES if (message := rule(config))]


def _lists_are_long_enough(config: Sections) -> str | None:
    largest = max(config.evaluate.k)
    for name, length in (
        ("recommend.n_candidates", config.recommend.n_candidates),
        ("fuse.length", config.fuse.length),
    ):
        if length < largest:
            return (
                f"{name} = {length} is less than evaluate.k = {largest}, so its lists could not be scored at it; "
                f"raise {name}"
            )
    return None


def _beams_fill_the_lists(config: Sections) -> str | None:
    beams, largest = config.decode.beams, max(config.evaluate.k)
    if beams >= largest:
        return None
    return (
        f"decode.beams = {beams} is less than evaluate.k = {largest}, so the LLM would be scored on shorter lists than "
        "the others; raise decode.beams"
    )


def _the_baseline_is_a_member(config: Sections) -> str | None:
    baseline, methods = config.evaluate.baseline, (*config.members.methods, LLM)
    if baseline in methods:
        return None
    return f"evaluate.baseline is {baseline!r}, which is no member of this run; name one of {', '.join(methods)}"


def _prompts_fit_a_training_window(config: Sections) -> str | None:
    prompt, window = config.decode.max_history, config.finetune.window_items
    if not config.finetune.tasks.history or prompt <= window:
        return None
    return (
        f"decode.max_history = {prompt} items, but finetune.window_items = {window}: the model never sees so long a "
        "history in training; lower the one or raise the other"
    )


def _something_is_trained(config: Sections) -> str | None:
    if any(weight for _, weight in config.finetune.tasks):
        return None
    return "finetune.tasks: every weight is 0, so there is nothing to train on; set finetune.tasks.history=1"


def _rl_goes_on_from_histories(config: Sections) -> str | None:
    if not config.has_rl() or config.finetune.tasks.history:
        return None
    return (
        f"rl.epochs = {config.rl.epochs:g} goes on with histories of SIDs, and finetune.tasks.history = 0 trains on "
        "none; raise it, or set rl.epochs=0"
    )


def _tokens_are_described_once(config: Sections) -> str | None:
    if not (config.sa_init.import_file and config.needs_semantics()):
        return None
    return "semantics.teacher = openai would describe tokens, and sa_init.import_file does already; take one of them"


def _variants_are_no_bases(config: Sections) -> str | None:
    if all(variant.name != "base" for variant in config.members.llms):
        return None
    return "members.llms: the name 'base' is taken: it marks what a refresh extends; choose another"


def _variants_keep_the_rules_for_all(config: Sections) -> str | None:
    for variant in config.members.llms:
        for setting in variant.set:
            if setting.strip().startswith("recommend"):
                return f"members.llms, {variant.name}: {setting} holds for all members alike; set it for the whole run"
    return None


_RULES: tuple[Rule, ...] = (
    _lists_are_long_enough,
    _beams_fill_the_lists,
    _the_baseline_is_a_member,
    _prompts_fit_a_training_window,
    _something_is_trained,
    _rl_goes_on_from_histories,
    _tokens_are_described_once,
    _variants_are_no_bases,
    _variants_keep_the_rules_for_all,
)
