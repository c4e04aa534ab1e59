"""KL divergence for language-model training: the companion package of the book."""

from kltutorial import divergences, estimators, grpo, sequences
from kltutorial.divergences import *
from kltutorial.estimators import *
from kltutorial.grpo import *
from kltutorial.sequences import *

__version__ = "0.1.0"
__all__ = [*divergences.__all__, *estimators.__all__, *grpo.__all__, *sequences.__all__]
