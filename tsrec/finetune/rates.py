"""Learning rates of single parameters: SID rows may have their own, and lower layers may learn more slowly.

Layer-wise decay as in ULMFiT (1801.06146) and ELECTRA (2003.10555): what is general lies low, and is to change less.
"""

import re
from collections.abc import Iterable

from tsrec.config import FinetuneConfig

_SID_ROWS = "sid_rows"
_NUMBER = re.compile(r"\.(\d+)\.")  # of a layer, in every family's names: the first list of modules is that of layers


def own_rates(names: Iterable[str], config: FinetuneConfig) -> dict[str, float]:
    """The peak rates of the parameters `names` of a `SidModel` that are not `config.learning_rate`."""
    numbers = {name: int(found[1]) for name in names if (found := _NUMBER.search(name))}
    top = max(numbers.values(), default=0)
    rates = {
        name: config.learning_rate * config.layer_decay ** (top - number)
        for name, number in numbers.items()
        if config.layer_decay != 1 and number < top
    }
    return rates | ({_SID_ROWS: config.sid_learning_rate} if config.sid_learning_rate else {})
