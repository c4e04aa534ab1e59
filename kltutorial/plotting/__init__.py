"""Figures of the book.  Each takes data that was computed elsewhere and returns the axes.

Needs matplotlib and seaborn: ``pip install "kltutorial[plot]"``.
What can't be drawn as it is (other lengths than the axis has, more curves than there are looks,
text for numbers ...) raises a ValueError or TypeError that names the argument.
Colours are seaborn's colour-blind-safe palette, and a line style goes with each colour.
"""

from kltutorial.plotting import (
    alignment,
    choosing,
    directions,
    divergences,
    does_it_help,
    estimators,
    fdivergences,
    gradients,
    grpo,
    sequences,
)
from kltutorial.plotting._style import use_book_style
from kltutorial.plotting.alignment import *
from kltutorial.plotting.choosing import *
from kltutorial.plotting.directions import *
from kltutorial.plotting.divergences import *
from kltutorial.plotting.does_it_help import *
from kltutorial.plotting.estimators import *
from kltutorial.plotting.fdivergences import *
from kltutorial.plotting.gradients import *
from kltutorial.plotting.grpo import *
from kltutorial.plotting.sequences import *

__all__ = [
    *alignment.__all__,
    *choosing.__all__,
    *directions.__all__,
    *divergences.__all__,
    *does_it_help.__all__,
    *estimators.__all__,
    *fdivergences.__all__,
    *gradients.__all__,
    *grpo.__all__,
    *sequences.__all__,
    "use_book_style",
]
