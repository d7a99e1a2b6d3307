"""What the engine tells of its work to whoever counts it: a name and a number, from any of its threads.

`decode_s`, `decode_batch`: seconds and histories of one batch of the LLM's. `rank_s`, `rank_batch`: of the other
members and the gate. `cache_hit`: 1 where a list of the LLM's was there or under way, else 0. `left_out`: how many
members an answer had to do without.
"""

from collections.abc import Callable

Observe = Callable[[str, float], None]


def observe_nothing(name: str, value: float) -> None:
    """Count nothing."""
