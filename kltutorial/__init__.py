"""KL divergence for language-model training: the companion package of the book."""

from typing import TYPE_CHECKING, Any

from kltutorial import (
    alignment,
    audit,
    directions,
    divergences,
    estimators,
    fdivergences,
    gradients,
    grpo,
    sequences,
)
from kltutorial.alignment import *
from kltutorial.directions import *
from kltutorial.divergences import *
from kltutorial.estimators import *
from kltutorial.fdivergences import *
from kltutorial.gradients import *
from kltutorial.grpo import *
from kltutorial.sequences import *

if TYPE_CHECKING:
    from kltutorial.audit import *

__version__ = "0.1.0"
__all__ = [
    *alignment.__all__,
    *audit.__all__,
    *directions.__all__,
    *divergences.__all__,
    *estimators.__all__,
    *fdivergences.__all__,
    *gradients.__all__,
    *grpo.__all__,
    *sequences.__all__,
]


def __getattr__(name: str) -> Any:
    """Return what is public in the audit, which is loaded when it is asked for."""
    if name in audit.__all__:
        return getattr(audit, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
