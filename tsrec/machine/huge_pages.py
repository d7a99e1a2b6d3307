"""Memory of large tensors in huge pages.

The C library gives large blocks back to the system as soon as they are freed, and a training step frees all that it
made: every step then has its memory mapped anew, page by page of 4 KiB, in one thread at a time. SASRec's step on the
demo loses an eighth of its time so (`benchmarks/huge_pages.py`).
"""

import os


def use_huge_pages() -> None:
    """Have torch ask Linux for pages of 2 MiB where a tensor is larger than one; what the environment says holds.

    Where the system has none, nothing changes. torch reads it with its first such tensor; child processes inherit it.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
