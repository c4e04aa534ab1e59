"""An exactly solvable language model: every expectation over its sequences is a finite sum.

The running example of the book; introduced in the chapter
:doc:`What KL divergence measures </book/kl_divergence>`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kltutorial import _checks
from kltutorial._checks import FloatArray
from kltutorial._numerics import log_sum_exp
from kltutorial.divergences import kl_from_logits

__all__ = ["TabularLM", "example_pair"]

IntArray = NDArray[np.integer]
BoolArray = NDArray[np.bool_]


class TabularLM:
    """Autoregressive language model that is a table of next-token log-probabilities.

    Parameters
    ----------
    tables : sequence of array_like
        One array per position t, of shape (contexts, vocabulary): row c holds the logits of
        token t after the context number c.  With ``order`` None there are vocabulary**t
        contexts at position t; with order k, vocabulary**min(t, k).  The number of a context is
        its last tokens read as digits in base `vocabulary`.
    eos : int, optional
        A token that ends the sequence.  Later positions are padded with it, and are certain:
        their log-probability is 0.

    Attributes
    ----------
    vocabulary : int
        Number of tokens.
    horizon : int
        Number of positions.
    eos : int or None
        The end token.

    Raises
    ------
    ValueError
        If the shapes of `tables` do not fit together, a row allows no token, a logit is NaN or
        ``+inf``, or `eos` is not a token.
    TypeError
        If `tables` is not real numbers, or `eos` not an integer.

    Examples
    --------
    >>> model = TabularLM([[[0.0, 0.0]], np.log([[0.9, 0.1], [0.5, 0.5]])])
    >>> np.exp(model.log_prob([[0, 1]])).round(2)
    array([[0.5, 0.1]])

    References
    ----------
    Introduced in :doc:`What KL divergence measures </book/kl_divergence>`.
    """

    def __init__(self, tables: Sequence[ArrayLike], *, eos: int | None = None) -> None:
        if len(tables) == 0:
            raise ValueError("tables must hold at least one position")
        logits = [_checks.logits(f"tables[{t}]", table, -1) for t, table in enumerate(tables)]
        vocabulary = logits[0].shape[-1]
        contexts = 1
        for t, table in enumerate(logits):
            allowed = {contexts, contexts * vocabulary} if t else {1}
            if table.ndim != 2 or table.shape[1] != vocabulary or len(table) not in allowed:
                raise ValueError(
                    f"tables[{t}] must have shape (contexts, {vocabulary}) with contexts "
                    f"in {sorted(allowed)}, got {table.shape}"
                )
            if t > 1 and contexts < vocabulary ** (t - 1) and len(table) != contexts:
                raise ValueError(f"tables[{t}] must have {contexts} contexts, as tables[{t - 1}]")
            contexts = len(table)
        if eos is not None and not 0 <= _checks.integer("eos", eos) < vocabulary:
            raise ValueError(f"eos must be a token in 0..{vocabulary - 1}, got {eos}")
        self.vocabulary = vocabulary
        self.horizon = len(logits)
        self.eos = eos
        self._log_probs = [_log_softmax(table) for table in logits]

    @classmethod
    def random(
        cls,
        vocabulary: int,
        horizon: int,
        rng: np.random.Generator,
        *,
        order: int | None = None,
        eos: int | None = None,
    ) -> TabularLM:
        """Model with independent standard normal logits.

        Parameters
        ----------
        vocabulary, horizon : int
            Number of tokens, and of positions.
        rng : numpy.random.Generator
            Where the logits come from.
        order : int, optional
            How many of the last tokens the next one depends on; by default, on all of them.
            Positions from `order` on share one table.
        eos : int, optional
            A token that ends the sequence.

        Returns
        -------
        TabularLM
            The model.

        Raises
        ------
        ValueError
            If a size is not positive, `order` is negative, or `eos` is not a token.
        TypeError
            If `rng` is not a generator, or another argument is not an integer.

        Examples
        --------
        >>> TabularLM.random(4, 5, np.random.default_rng(0))
        TabularLM(vocabulary=4, horizon=5)
        """
        _checks.generator("rng", rng)
        _checks.integer("vocabulary", vocabulary)
        _checks.integer("horizon", horizon)
        if vocabulary < 1 or horizon < 1:
            raise ValueError(f"vocabulary and horizon must be positive: {vocabulary}, {horizon}")
        if order is not None and _checks.integer("order", order) < 0:
            raise ValueError(f"order must not be negative, got {order}")
        depth = horizon - 1 if order is None else min(order, horizon - 1)
        tables = [rng.normal(size=(vocabulary**t, vocabulary)) for t in range(depth + 1)]
        return cls(tables + [tables[-1]] * (horizon - depth - 1), eos=eos)

    def perturbed(self, scale: float, rng: np.random.Generator) -> TabularLM:
        """Return a model whose logits are these plus normal noise of standard deviation `scale`.

        Parameters
        ----------
        scale : float
            Standard deviation of the noise, in nats.
        rng : numpy.random.Generator
            Where the noise comes from.

        Returns
        -------
        TabularLM
            The other model; this one is unchanged.

        Raises
        ------
        ValueError
            If `scale` is not finite.
        TypeError
            If `scale` is not a number or `rng` is not a generator.

        Examples
        --------
        >>> model = TabularLM.random(4, 5, np.random.default_rng(0))
        >>> model.perturbed(0.5, np.random.default_rng(1))
        TabularLM(vocabulary=4, horizon=5)
        """
        _checks.real("scale", scale)
        if not np.isfinite(scale):
            raise ValueError(f"scale must be finite, got {scale}")
        _checks.generator("rng", rng)
        noisy = [table + scale * rng.normal(size=table.shape) for table in self._log_probs]
        return TabularLM(noisy, eos=self.eos)

    def sample(self, n: int, rng: np.random.Generator) -> IntArray | tuple[IntArray, BoolArray]:
        """Draw `n` sequences.

        Parameters
        ----------
        n : int
            How many.
        rng : numpy.random.Generator
            Where they come from.

        Returns
        -------
        tokens : numpy.ndarray of int
            Shape (n, horizon).
        mask : numpy.ndarray of bool
            Only with an end token: True up to and including it.

        Raises
        ------
        ValueError
            If `n` is not positive.
        TypeError
            If `n` is not an integer or `rng` is not a generator.

        Examples
        --------
        >>> model = TabularLM.random(4, 5, np.random.default_rng(0))
        >>> model.sample(2, np.random.default_rng(0)).shape
        (2, 5)
        """
        _checks.generator("rng", rng)
        if _checks.integer("n", n) < 1:
            raise ValueError(f"n must be positive, got {n}")
        tokens: IntArray = np.empty((n, self.horizon), dtype=np.int64)
        context: IntArray = np.zeros(n, dtype=np.int64)
        for t, table in enumerate(self._log_probs):
            cumulative = np.exp(table).cumsum(axis=1)
            cumulative /= cumulative[:, -1:]
            draws = rng.random((n, 1))
            # Not ">": a draw of exactly 0 must not give a token of probability 0.
            tokens[:, t] = (draws >= cumulative[context]).sum(axis=1)
            context = self._next_context(context, tokens[:, t], t)
        if self.eos is None:
            return tokens
        mask = self._mask(tokens)
        return np.where(mask, tokens, self.eos), mask

    def log_prob(self, tokens: ArrayLike) -> FloatArray:
        """Log-probability of each token given those before it.

        Parameters
        ----------
        tokens : array_like of int
            Shape (n, horizon).

        Returns
        -------
        numpy.ndarray
            Shape (n, horizon), in nats; rows sum to the log-probability of the sequence.  After
            an end token it is 0, whatever stands there.

        Raises
        ------
        ValueError
            If the shape does not fit, there is no sequence, or a token is not in the vocabulary.
        TypeError
            If `tokens` is not integers.

        Examples
        --------
        >>> model = TabularLM([np.log([[0.25, 0.75]])])
        >>> np.exp(model.log_prob([[0], [1]])).round(2).tolist()
        [[0.25], [0.75]]
        """
        tokens = np.asarray(tokens)
        if tokens.dtype.kind not in "iu":
            raise TypeError(f"tokens must be integers, got dtype {tokens.dtype}")
        if tokens.ndim != 2 or tokens.shape[1] != self.horizon:
            raise ValueError(f"tokens must have shape (n, {self.horizon}), got {tokens.shape}")
        _checks.non_empty("tokens", tokens)
        if not 0 <= tokens.min() <= tokens.max() < self.vocabulary:
            raise ValueError(f"tokens must be in 0..{self.vocabulary - 1}")
        tokens = tokens.astype(np.int64)  # an unsigned token times an int would be a float
        result = np.empty(tokens.shape)
        context: IntArray = np.zeros(len(tokens), dtype=np.int64)
        for t, table in enumerate(self._log_probs):
            result[:, t] = table[context, tokens[:, t]]
            context = self._next_context(context, tokens[:, t], t)
        return result if self.eos is None else np.where(self._mask(tokens), result, 0.0)

    def sequences(self) -> IntArray:
        """Every sequence, once; vocabulary**horizon of them without an end token.

        Returns
        -------
        numpy.ndarray of int
            Shape (sequences, horizon), in lexicographic order.

        Examples
        --------
        >>> model = TabularLM.random(2, 2, np.random.default_rng(0))
        >>> model.sequences().tolist()
        [[0, 0], [0, 1], [1, 0], [1, 1]]
        """
        grid = np.indices((self.vocabulary,) * self.horizon).reshape(self.horizon, -1).T
        if self.eos is None:
            return grid
        mask = self._mask(grid)
        return grid[(mask | (grid == self.eos)).all(axis=1)]

    def kl(self, other: TabularLM) -> float:
        r"""Exact sequence divergence KL(self || other), by dynamic programming.

        The chain rule makes it the sum over positions of the expected divergence of the next
        token, with prefixes drawn from this model.

        Parameters
        ----------
        other : TabularLM
            A model of the same vocabulary, horizon and end token.

        Returns
        -------
        float
            The divergence of the whole sequences, in nats.

        Raises
        ------
        ValueError
            If the models do not fit together.
        TypeError
            If `other` is not a model.

        Examples
        --------
        >>> policy, reference = example_pair()
        >>> print(f"{policy.kl(reference):.4f} nats")
        0.2897 nats

        References
        ----------
        Cover and Thomas (2006), *Elements of Information Theory*, theorem 2.5.3.
        Derived in :doc:`What KL divergence measures </book/kl_divergence>`.
        """
        if not isinstance(other, TabularLM):
            raise TypeError(f"other must be a TabularLM, got {type(other).__name__}")
        mine = (self.vocabulary, self.horizon, self.eos)
        theirs = (other.vocabulary, other.horizon, other.eos)
        if mine != theirs:
            raise ValueError(f"other must have (vocabulary, horizon, eos) {mine}, got {theirs}")
        total = 0.0
        joint = np.ones((1, 1))  # probability of each context and the token after it
        for p, q in zip(self._log_probs, other._log_probs, strict=True):
            number = np.arange(max(len(p), len(q)))  # contexts of the model with more of them
            reach = joint.reshape(-1, len(number)).sum(axis=0)
            p, q = p[number % len(p)], q[number % len(q)]
            reached = reach > 0  # elsewhere q may exclude anything: 0 * inf is 0
            if not reached.any():
                break
            total += float(reach[reached] @ kl_from_logits(p[reached], q[reached]))
            joint = reach[:, None] * np.exp(p)
            if self.eos is not None:
                joint[:, self.eos] = 0.0
        return total

    def __repr__(self) -> str:
        end = "" if self.eos is None else f", eos={self.eos}"
        return f"TabularLM(vocabulary={self.vocabulary}, horizon={self.horizon}{end})"

    def _next_context(self, context: IntArray, token: IntArray, t: int) -> IntArray:
        """Return the number of the context of position t + 1."""
        if t + 1 == self.horizon:
            return context
        return (context * self.vocabulary + token) % len(self._log_probs[t + 1])

    def _mask(self, tokens: IntArray) -> BoolArray:
        """Return True up to and including the first end token."""
        ended = np.cumsum(tokens == self.eos, axis=1) - (tokens == self.eos)
        return ended == 0


def example_pair() -> tuple[TabularLM, TabularLM]:
    """Return the policy and the reference that recur through the book.

    Four tokens, five positions, 1,024 sequences; the policy is the reference with its logits
    perturbed.

    Returns
    -------
    policy, reference : TabularLM
        The two models.

    Examples
    --------
    >>> policy, reference = example_pair()
    >>> policy
    TabularLM(vocabulary=4, horizon=5)

    References
    ----------
    Introduced in :doc:`What KL divergence measures </book/kl_divergence>`.
    """
    rng = np.random.default_rng(0)
    reference = TabularLM.random(4, 5, rng)
    return reference.perturbed(0.5, rng), reference


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=-1, keepdims=True)  # of any size, without losing digits
    return shifted - log_sum_exp(shifted)
