"""Command line: ``python -m kltutorial.audit MODULE:FUNCTION``.

The exit status is 0 where nothing is wrong, 1 where something is, and 2 for bad usage.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import pkgutil
import re
import sys
from collections.abc import Sequence

from kltutorial.audit import audit_grpo_loss, audit_kl


def main(argv: Sequence[str] | None = None) -> int:
    """Audit what the arguments name, print the report and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m kltutorial.audit",
        description="Say what a KL penalty, or a GRPO loss, really computes.",
        epilog="Exit status: 0 where nothing is wrong, 1 where something is, 2 for bad usage.",
    )
    parser.add_argument("target", metavar="MODULE:FUNCTION", help="what is imported and called")
    parser.add_argument(
        "--args",
        type=_arguments,
        metavar="NAME=VALUE,...",
        help="what each parameter takes: logp, logq, logb or mask, or a constant, as in "
        "logprob=logp,ref_logprob=logq,kl_penalty=low_var_kl",
    )
    parser.add_argument("--use", choices=("value", "loss", "reward"), help="what it is meant for")
    parser.add_argument("--backend", choices=("numpy", "torch"), help="what it runs on")
    parser.add_argument("--grpo", action="store_true", help="it is a whole GRPO loss")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(argv)
    if options.grpo and options.use:
        parser.error("--use is for penalties: a GRPO loss is a loss")
    if ":" not in options.target:
        parser.error(f"expected MODULE:FUNCTION, got {options.target!r}")
    named = {"arguments": options.args, "backend": options.backend}
    # What the module or the function prints must not get into the report.
    with contextlib.redirect_stdout(sys.stderr):
        sys.path.insert(0, "")  # modules here are found as well
        try:
            function = pkgutil.resolve_name(options.target)
        except (Exception, SystemExit) as error:  # a script that exits would exit with its status
            parser.error(f"{options.target} can't be imported: {type(error).__name__}: {error}")
        try:
            report = (
                audit_grpo_loss(function, **named)
                if options.grpo
                else audit_kl(function, use=options.use, **named)
            )
        except (ValueError, ImportError) as error:
            parser.error(str(error))
    print(json.dumps(report.to_dict(), indent=2) if options.json else report)
    return 0 if report.ok else 1


def _arguments(text: str) -> dict[str, object]:
    """Return the mapping that ``name=value,name=value`` writes down; values may hold commas."""
    items = re.split(r",\s*(?=[^\W\d]\w*\s*=)", text)
    pairs = dict(item.split("=", 1) for item in items)
    return {name.strip(): _constant(value.strip()) for name, value in pairs.items()}


def _constant(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":  # pragma: no cover - a test runs it, as a process of its own
    sys.exit(main())
