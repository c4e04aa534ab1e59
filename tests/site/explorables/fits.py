"""What fits.js must find."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from scipy.stats import norm

import kltutorial as kl
from tests.claims import load

PAGE = "book/directions.html"
NAMES = ["distance", "weight", "start_mean", "start_std", "step"]
TARGETS = [(0.5, 0.5), (2.4, 0.5), (2.45, 0.5), (4, 0.5), (4.5, 0.6), (5, 0.95)]
WALKS = [(2, 3, 200), (-6.35, 0.4, 3), (0, 0.75, 0), (0.55, 6, 120)]
GRID = [dict(zip(NAMES, (*t, *w), strict=True)) for t, w in product(TARGETS, WALKS)]
STARTS = [(mean, std) for std in (0.6, 2, 3.7, 5.4) for mean in np.linspace(-7, 7, 10)]
#: Claims that the caption quotes, and to how many digits.
QUOTED = {"side-appears": 3}

Z = np.linspace(-9, 9, 1801)
WEIGHTS = norm.pdf(Z) * 0.01
SCORES = WEIGHTS * Z, WEIGHTS * (Z * Z - 1)


def expected(distance, weight, start_mean, start_std, step):
    target = density(distance, weight)
    forward = kl.forward_fit(target, bounds=(-20, 20))
    optima, basins = landscape(distance, weight)
    path, losses = walk(distance, weight, start_mean, start_std)
    mean, std = path[step]
    return {
        "forward_mean": forward.mean,
        "forward_std": forward.std,
        "forward_pq": forward.kl,
        "forward_qp": kl.kl_from_normal(forward.mean, forward.std, target),
        "mean": mean,
        "std": std,
        "pq": forward.kl + kl.kl_normal(forward.mean, forward.std, mean, std),
        "qp": losses[step],
        "path": path,
        "losses": losses,
        "optima": optima,
        "basins": basins,
        "chosen": nearest(below(path[-1], target), optima),
        "count": len(optima),
    }


def density(distance, weight):
    return kl.NormalMixture([-distance, distance], 1, [1 - weight, weight]).log_density


@cache
def landscape(distance, weight):
    """The minima below all starts, and which of them is below each."""
    target = density(distance, weight)
    fits = [below(path[-1], target) for path in descend(STARTS, target, 100, 1e-2)]
    optima = np.array(sorted({tuple(np.round(fit, 6)): fit for fit in fits}.values()))
    optima = optima[np.append(True, np.diff(optima[:, 0]) > 1e-3)]
    return optima, [nearest(fit, optima) for fit in fits]


@cache
def walk(distance, weight, mean, std):
    """The whole descent from one start, and the loss at each point, computed once if it rests."""
    target = density(distance, weight)
    (path,) = descend([(mean, std)], target, 200)
    points, each = np.unique(np.round(path, 12), axis=0, return_inverse=True)
    return path, kl.kl_from_normal(*points.T, target)[each.ravel()]


def descend(starts, target, steps, least=0.0):
    """Gradient descent from each start until it moves less; the target is not differentiated."""
    paths = [[np.array(start, float)] for start in starts]
    moving = paths
    for _ in range(steps):
        means, stds = np.transpose([path[-1] for path in moving])
        logs = target(means[:, None] + stds[:, None] * Z)
        first, second = (logs @ scores for scores in SCORES)
        slopes = np.stack([-first, -1 - second], axis=1) / stds[:, None]
        on = np.hypot(*slopes.T) >= least
        moving = [path for path, moves in zip(moving, on, strict=True) if moves]
        for path, slope in zip(moving, slopes[on], strict=True):
            path.append(path[-1] - slope / 2)
        if not moving:
            break
    return paths


def below(point, target):
    return kl.reverse_fit(target, mean=point[0], std=point[1])


def nearest(fit, optima):
    return int(np.argmin(np.abs(optima[:, 0] - fit.mean)))


def conclude(compute):
    """Hold the numbers to the caption: which optima there are."""

    def optima(distance, weight):
        return [mean for mean, _, _ in compute(distance=distance, weight=weight)["optima"]]

    for distance in np.arange(0.5, 5.01, 0.25).tolist():
        assert len(optima(distance, 0.5)) == (1 if distance < load()["side-appears"]() else 3)
    for weight in (0.4, 0.6):
        assert len(optima(4, weight)) == 3
    for weight in (0.05, 0.2, 0.3, 1 / 3):
        np.testing.assert_allclose(optima(4, weight), (-4, 4), atol=0.05)
        np.testing.assert_allclose(optima(4, 1 - weight), (-4, 4), atol=0.05)
        assert max(optima(2.2, weight)) < 0 < min(optima(2.2, 1 - weight))
