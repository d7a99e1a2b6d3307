"""Threads that share a machine: those of OpenMP and of NumPy's BLAS wait for each other by spinning.

Alone on its cores a run hardly notices. Beside other work (another run, a training while something is refreshed) the
one thread that has no core is waited for by the others, which keep theirs busy meanwhile: a product of tall matrices
takes four times as long as with one thread, and a hundred times where the other work has the larger share of the
processor; a fine-tuning step twice and four times (`benchmarks/busy_cores.py`).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_WITH_OPENMP = frozenset({"torch", "faiss", "lightgbm", "sklearn"})
_SPINS = "1000"  # some microseconds; libgomp's own 300,000 may be longer than a scheduler's turn


def spin_briefly() -> None:
    """Have OpenMP's threads (of torch, faiss and LightGBM) soon sleep when they wait; what the environment says holds.

    libgomp reads it when it is loaded, so this is to be called before torch is imported. Child processes inherit it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def one_thread_after_fork() -> None:
    """Have a forked child (a server that loads its model first and then forks its workers) work in one thread.

    OpenMP's threads do not come along, and the first work that is shared among them waits for ever. With one there is
    nothing to wait for. Also before: a child that replaces itself by another program (`subprocess`) never gets here.
    """
    os.register_at_fork(after_in_child=_use_one_openmp_thread)


def _use_one_openmp_thread() -> None:
    if not _WITH_OPENMP.isdisjoint(sys.modules):
        from threadpoolctl import ThreadpoolController

        ThreadpoolController().limit(limits=1, user_api="openmp")  # of every library: each may bring its own
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # its MKL has a number of its own once somebody has set it


def thread_variables(n: int) -> dict[str, str]:
    """The environment of a new process in which torch, faiss and LightGBM are to work in `n` threads; at least one.

    Where only OpenMP's variable says so, torch takes the number of MKL's, which Dask sets to one for its workers.
    """
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(max(1, n)))


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's and SciPy's linear algebra in one thread where it keeps threads of its own, which cannot wait otherwise.

    Our products are tall and thin, or small, and gain little by more; and no last digit depends on how many cores there
    are. torch keeps its threads, and faiss, whose BLAS is one of OpenMP.
    """
    from threadpoolctl import ThreadpoolController

    with ThreadpoolController().select(threading_layer="pthreads").limit(limits=1):
        yield
