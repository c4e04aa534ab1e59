"""f-divergences of every generator, and Bregman divergences."""

from functools import wraps

import numpy as np

from kltutorial import (
    F_DIVERGENCES,
    FDivergence,
    alpha_divergence,
    bregman_divergence,
    f_divergence,
)
from tests.backends.checks import Case
from tests.backends.divergences import EQUAL, EXCLUDES, PAIR

INSIDE = {
    "p": np.array([[0.5, 0.25, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25]]),
    "q": np.array([[0.25, 0.125, 0.5, 0.125], [0.0078125, 0.4921875, 0.25, 0.25]]),
}


def triangle(u):
    return (u - 1) ** 2 / (u + 1)


TRIANGULAR = FDivergence("triangular", triangle, lambda u: 1 - 4 / (u + 1) ** 2, 1.0)
GENERATORS = {
    **F_DIVERGENCES,
    **{f"alpha({alpha})": alpha_divergence(alpha) for alpha in (-1.5, -0.001, 0.25, 1.0, 2.5)},
    "with a recession": TRIANGULAR,
}


SMOOTH = {name: f for name, f in GENERATORS.items() if name != "total_variation"}
# What p excludes adds a finite amount, and so little of what q excludes that it has a slope.
FINITE = [name for name in SMOOTH if np.isfinite(GENERATORS[name].f(np.zeros(1))).all()]
RATIOS = {"u": np.array([0.0, 0.25, 1.0, 1.5, 40.0])}


@wraps(FDivergence)
def part_of_a_divergence(u, name, part):
    return getattr(F_DIVERGENCES[name], part)(u)


@wraps(alpha_divergence)
def of_alpha(p, q, alpha):
    return f_divergence(p, q, alpha_divergence(alpha))


def f_case(arguments, f, *active):
    return Case(f_divergence, arguments, {"f": f}, active, ("p", "q"))


CASES = {
    **{f"f_divergence, {name}": f_case(INSIDE, f, "p", "q") for name, f in SMOOTH.items()},
    **{f"f_divergence, {name}, equal": f_case(EQUAL, f, "p", "q") for name, f in SMOOTH.items()},
    **{f"f_divergence, {name}, zeros": f_case(PAIR, GENERATORS[name], "p", "q") for name in FINITE},
    **{f"f_divergence, {name}, excluded": f_case(EXCLUDES, f) for name, f in GENERATORS.items()},
    "f_divergence, of a function": f_case(PAIR, triangle, "p", "q"),
    **{
        f"{name}.{part}": Case(part_of_a_divergence, RATIOS, {"name": name, "part": part})
        for name in F_DIVERGENCES
        for part in ("f", "df")
    },
    **{
        f"{name}.{part}, above 0": Case(
            part_of_a_divergence,
            {"u": np.array([0.25, 1.0, 1.5, 4.0])},
            {"name": name, "part": part},
            ("u",),
        )
        for name in F_DIVERGENCES
        if name in SMOOTH
        for part in ("f", "df")
    },
    "alpha_divergence": Case(of_alpha, PAIR, {"alpha": 0.5}, ("p", "q"), ("p", "q")),
    "bregman_divergence": Case(
        bregman_divergence,
        {"x": np.array([[0.5, 2.0], [1.0, 3.0]]), "y": np.array([1.0, 0.25])},
        {"phi": lambda v: v**3, "grad_phi": lambda v: 3 * v**2},
        ("x", "y"),
    ),
    "bregman_divergence, of vectors": Case(
        bregman_divergence,
        {"x": np.array([3.0, 0.5]), "y": np.array([0.25, 4.0])},
        {"phi": lambda v: v @ v, "grad_phi": lambda v: 2 * v},
        ("x", "y"),
    ),
}
