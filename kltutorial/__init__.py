"""KL divergence for language-model training: the companion package of the book."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kltutorial.alignment import *
    from kltutorial.audit import *
    from kltutorial.directions import *
    from kltutorial.divergences import *
    from kltutorial.estimators import *
    from kltutorial.fdivergences import *
    from kltutorial.gradients import *
    from kltutorial.grpo import *
    from kltutorial.sequences import *

__version__ = "0.1.0"

# They are imported in this order, and only until the name that is asked for is found.
_MODULES = (
    "estimators",
    "divergences",
    "grpo",
    "alignment",
    "fdivergences",
    "gradients",
    "sequences",
    "directions",
    "audit",
)


def __getattr__(name: str) -> Any:
    if name in {*_MODULES, "plotting"}:
        return import_module(f"{__name__}.{name}")
    if name == "__all__":
        return [public for module in _MODULES for public in __getattr__(module).__all__]
    if not name.startswith("_"):
        for module in map(__getattr__, _MODULES):
            if name in module.__all__:
                globals()[name] = getattr(module, name)
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__getattr__("__all__"), *_MODULES])
