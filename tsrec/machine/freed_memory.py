"""Memory that a process has freed and the C library keeps.

glibc keeps blocks of up to 32 MB for the next that ask for some, each thread's for that thread. Where large arrays come
and go in several threads, what it keeps may be half of what the process takes.
"""

import ctypes


def return_freed_memory() -> None:
    """Have glibc give whole free pages of all threads back to the system. Other C libraries have no such function."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
