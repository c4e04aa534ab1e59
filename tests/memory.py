"""How much memory a call takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def peak_memory(function: Callable[..., object], *args: object, **options: object) -> int:
    """Return the most bytes held at a time beyond the arguments, in a call after a first one.

    NumPy may hold a buffer of its own, of 64 KiB.
    """
    function(*args, **options)  # whatever is allocated only once
    tracemalloc.start()
    try:
        function(*args, **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
