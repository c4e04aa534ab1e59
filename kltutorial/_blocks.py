"""Work on large arrays in blocks that fit a cache, in several threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from kltutorial._arrays import Array

__all__: list[str] = []

Item = TypeVar("Item")
Result = TypeVar("Result")

# Elements handled at a time: large enough to hide Python's overhead, small enough for a cache;
# and those that one thread handles before it fetches new work.
BLOCK = 1 << 17
TASK = 1 << 20


class Fresh:
    """The functions of a namespace, with an `out` that is ignored: only NumPy writes into arrays.

    Into new arrays NumPy would compute several times more slowly.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def __getattr__(self, name: str) -> Callable[..., Array]:
        function = getattr(self._xp, name)
        return lambda *args, out=None, **options: function(*args, **options)


class Scratch:
    """An array to work in for each thread, which keeps it: fresh memory is slow to be had."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self._local, self._shape, self._dtype = threading.local(), shape, dtype

    def __call__(self) -> Array:
        if not hasattr(self._local, "array"):
            self._local.array = np.empty(self._shape, self._dtype)
        return self._local.array


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results for all items, in their order, however many threads there are."""
    items = list(items)
    if len(items) == 1:
        yield function(items[0])
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(function, items)


def in_blocks(function: Callable[[int, int], None], size: int, block: int, task: int) -> None:
    """Call a function with the ends of each block up to `size`, a task in each thread."""

    def blocks_of_task(start: int) -> None:
        stop = min(start + task, size)
        for first in range(start, stop, block):
            function(first, min(first + block, stop))

    for _ in in_threads(blocks_of_task, range(0, size, task)):
        pass


def with_progress(items: Iterable[Item], shown: bool, total: int | None = None) -> Iterable[Item]:
    """`items`; if `shown`, with a bar on the standard error stream."""
    if not shown:
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        raise ImportError(
            "progress=True needs tqdm: python -m pip install 'kltutorial[progress]'"
        ) from None
    return tqdm(items, total=total)
