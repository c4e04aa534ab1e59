"""Say what a KL penalty, or a whole GRPO loss, really computes.

Derived in the chapter :doc:`Check your own </book/checking>`.
On the command line: ``python -m kltutorial.audit MODULE:FUNCTION``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kltutorial.audit._grpo import audit_grpo_loss
    from kltutorial.audit._kl import audit_kl
    from kltutorial.audit._report import AUDIT_CODES, AuditReport, Clamp, Finding, GRPOAuditReport

__all__ = [
    "AUDIT_CODES",
    "AuditReport",
    "Clamp",
    "Finding",
    "GRPOAuditReport",
    "audit_grpo_loss",
    "audit_kl",
]


def __getattr__(name: str) -> Any:
    """Load the audit when it is asked for: most who import the package don't."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = {"audit_kl": "_kl", "audit_grpo_loss": "_grpo"}.get(name, "_report")
    return getattr(import_module(f"{__name__}.{module}"), name)
