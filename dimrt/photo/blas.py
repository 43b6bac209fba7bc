"""Small products of matrices on one thread.

A BLAS shares even small products among threads, which wait for each other by spinning: on a machine whose cores have
other work, fitting a map of colours takes several times as long that way, in processor time too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, numpy's BLAS has one thread, as it has meanwhile for others in this process."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
