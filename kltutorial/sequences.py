"""An exactly solvable language model: every expectation over its sequences is a finite sum.

The running example of the book; introduced in the chapter
:doc:`What KL divergence measures </book/kl_divergence>`.  What tokens and whole sequences have to
do with each other is the subject of :doc:`Tokens and sequences </book/sequences>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kltutorial import _checks
from kltutorial._arrays import Array, as_array, boolean, fails, floats
from kltutorial._checks import BoolArray, FloatArray
from kltutorial._numerics import log_softmax
from kltutorial.divergences import kl_from_logits

__all__ = ["TabularLM", "example_pair", "reward_to_go", "sequence_kl_gradient"]

IntArray = NDArray[np.integer]


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
    tables : tuple
        One array per position, of the shapes of the argument: the next-token log-probabilities,
        in nats.  They are read-only.

    Raises
    ------
    ValueError
        If the shapes of `tables` do not fit together, a row allows no token, a logit is NaN or
        ``+inf``, or `eos` is not a token.
    TypeError
        If `tables` is not a sequence of real numbers, or `eos` not an integer.

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
        if not isinstance(tables, Sequence | np.ndarray) or isinstance(tables, str):
            raise TypeError(f"tables must be a sequence, got {type(tables).__name__}")
        if len(tables) == 0:
            raise ValueError("tables must hold at least one position")
        logits: list[FloatArray] = []
        for t, table in enumerate(tables):
            name = f"tables[{t}]"
            logits += _checks.logits(-1, **{name: _checks.as_float_array(name, table)})[1:]
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
        self.tables = tuple(log_softmax(table) for table in logits)
        for table in self.tables:
            table.flags.writeable = False

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
        scale = _checks.finite_real("scale", scale)
        _checks.generator("rng", rng)
        noisy = [table + scale * rng.normal(size=table.shape) for table in self.tables]
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
        _checks.positive_integer("n", n)
        tokens: IntArray = np.empty((n, self.horizon), dtype=np.int64)
        context: IntArray = np.zeros(n, dtype=np.int64)
        for t, table in enumerate(self.tables):
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
        tokens = self._checked(tokens)
        result = np.empty(tokens.shape)
        context: IntArray = np.zeros(len(tokens), dtype=np.int64)
        for t, table in enumerate(self.tables):
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
        total = 0.0
        for reach, p, q in self._visit(other):
            reached = reach > 0  # elsewhere q may exclude anything: 0 * inf is 0
            if not reached.any():
                break
            total += float(reach[reached] @ kl_from_logits(p[reached], q[reached]))
        return total

    def token_kl(self, other: TabularLM, tokens: ArrayLike) -> FloatArray:
        r"""Exact divergence of the next token at each prefix of given sequences.

        Averaged over sequences of this model, the sums of the rows estimate :meth:`kl` without
        the noise of the token that happened to be drawn: this is the Rao–Blackwell estimator.
        Each term has at most the variance of its k1; of the sums that is not guaranteed.
        For the logits of a network, :func:`kl_from_logits` does the same.

        Parameters
        ----------
        other : TabularLM
            A model of the same vocabulary, horizon and end token.
        tokens : array_like of int
            Shape (n, horizon); sequences that this model can produce.

        Returns
        -------
        numpy.ndarray
            Shape (n, horizon), in nats; non-negative, and 0 after an end token.

        Raises
        ------
        ValueError
            If the models do not fit together, or `tokens` are not sequences of this vocabulary.
        TypeError
            If `other` is not a model, or `tokens` is not integers.

        Examples
        --------
        >>> policy, reference = example_pair()
        >>> tokens = policy.sample(1000, np.random.default_rng(0))
        >>> estimate = policy.token_kl(reference, tokens).sum(axis=1)
        >>> print(f"{estimate.mean():.3f} ± {estimate.std() / 1000**0.5:.3f}")
        0.293 ± 0.004

        References
        ----------
        Amini, Vieira and Cotterell (2025), *Better estimation of the Kullback–Leibler divergence
        between language models* (arXiv 2504.10637).
        Derived in :doc:`Tokens and sequences </book/sequences>`.
        """
        tokens = self._checked(tokens)
        result = np.empty(tokens.shape)
        context: IntArray = np.zeros(len(tokens), dtype=np.int64)
        for t, (p, q) in enumerate(self._pairs(other)):
            context %= len(p)
            result[:, t] = kl_from_logits(p, q)[context]
            context = context * self.vocabulary + tokens[:, t]
        return result if self.eos is None else np.where(self._mask(tokens), result, 0.0)

    def kl_to_go(self, other: TabularLM) -> list[FloatArray]:
        r"""Exact divergence of what is still to come, after every prefix.

        By dynamic programming from the end: the divergence of the next token, plus the mean over
        that token of what is to come after it.

        Parameters
        ----------
        other : TabularLM
            A model of the same vocabulary, horizon and end token.

        Returns
        -------
        list of numpy.ndarray
            One array per position, in nats, with one value per context of the model that has
            more of them; the only value of the first position is :meth:`kl`.  0 where the
            context holds an end token.

        Raises
        ------
        ValueError
            If the models do not fit together.
        TypeError
            If `other` is not a model.

        Examples
        --------
        >>> policy, reference = example_pair()
        >>> [len(values) for values in policy.kl_to_go(reference)]
        [1, 4, 16, 64, 256]
        >>> print(f"{policy.kl_to_go(reference)[0][0]:.4f} nats")
        0.2897 nats

        References
        ----------
        Derived in :doc:`Tokens and sequences </book/sequences>`.
        """
        result: list[FloatArray] = []
        after: FloatArray = np.zeros(1)
        for p, q in reversed(list(self._pairs(other))):
            future = self._future(after, p)
            possible = p > -np.inf  # after an impossible token it may be infinite: 0 * inf is 0
            after = kl_from_logits(p, q)
            after = after + (np.exp(p) * np.where(possible, future, 0)).sum(axis=1)
            if self.eos is not None:
                after[self._ended(len(p))] = 0
            result.append(after)
        return result[::-1]

    def __repr__(self) -> str:
        end = "" if self.eos is None else f", eos={self.eos}"
        return f"TabularLM(vocabulary={self.vocabulary}, horizon={self.horizon}{end})"

    def _checked(self, tokens: ArrayLike) -> IntArray:
        """Return sequences as an integer array; raise unless they are of this vocabulary."""
        tokens = as_array("tokens", tokens)
        if tokens.dtype.kind not in "iu":
            raise TypeError(f"tokens must be integers, got dtype {tokens.dtype}")
        if tokens.ndim != 2 or tokens.shape[1] != self.horizon:
            raise ValueError(f"tokens must have shape (n, {self.horizon}), got {tokens.shape}")
        _checks.non_empty("tokens", tokens)
        if not 0 <= tokens.min() <= tokens.max() < self.vocabulary:
            raise ValueError(f"tokens must be in 0..{self.vocabulary - 1}")
        return tokens.astype(np.int64)  # an unsigned token times an int would be a float

    def _pairs(self, other: TabularLM) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield the tables of both models at each position, with the same contexts."""
        if not isinstance(other, TabularLM):
            raise TypeError(f"other must be a TabularLM, got {type(other).__name__}")
        mine = (self.vocabulary, self.horizon, self.eos)
        theirs = (other.vocabulary, other.horizon, other.eos)
        if mine != theirs:
            raise ValueError(f"other must have (vocabulary, horizon, eos) {mine}, got {theirs}")
        for p, q in zip(self.tables, other.tables, strict=True):
            number = np.arange(max(len(p), len(q)))  # contexts of the model with more of them
            yield p[number % len(p)], q[number % len(q)]

    def _visit(self, other: TabularLM) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """Yield, per position, the probability of each context and the tables of both models."""
        joint = np.ones((1, 1))  # probability of each context and the token after it
        for p, q in self._pairs(other):
            reach = joint.reshape(-1, len(p)).sum(axis=0)
            yield reach, p, q
            joint = reach[:, None] * np.exp(p)
            if self.eos is not None:
                joint[:, self.eos] = 0.0

    def _future(self, after: FloatArray, table: FloatArray) -> FloatArray:
        """Return the values `after` each token, in the shape of a position's table."""
        future = after[np.arange(table.size) % len(after)].reshape(table.shape)
        if self.eos is not None:
            future[:, self.eos] = 0
        return future

    def _ended(self, contexts: int) -> BoolArray:
        """Return which of a position's contexts hold an end token."""
        ended = np.zeros(1, dtype=bool)
        while len(ended) < contexts:
            ended = (ended[:, None] | (np.arange(self.vocabulary) == self.eos)).ravel()
        return ended

    def _next_context(self, context: IntArray, token: IntArray, t: int) -> IntArray:
        """Return the number of the context of position t + 1."""
        if t + 1 == self.horizon:
            return context
        return (context * self.vocabulary + token) % len(self.tables[t + 1])

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


def sequence_kl_gradient(
    policy: TabularLM, other: TabularLM, *, future: bool = True
) -> list[FloatArray]:
    r"""Exact gradient of KL(policy || other) over whole sequences, in the policy's logits.

    For the logit of token a after context c,
    :math:`\Pr(c)\, \pi(a | c)\, [\ell(a | c) + V(c a) - V(c)]`, with
    :math:`\ell = \log \pi - \log q` and V the divergence that is still to come
    (:meth:`TabularLM.kl_to_go`).

    Parameters
    ----------
    policy, other : TabularLM
        The two models; same vocabulary, horizon and end token.
    future : bool
        False leaves out what a token changes for those after it, as the losses that add up token
        terms do: the divergence of each next token is differentiated, the prefixes are not.

    Returns
    -------
    list of numpy.ndarray
        One array per position, in the shape of ``policy.tables``, in nats.  Each position has
        logits of its own; where positions share a table, as those of :meth:`TabularLM.random`
        with an `order` do, the gradient of the shared one is the sum of theirs.

    Raises
    ------
    ValueError
        If the models do not fit together, or `other` excludes a sequence that the policy can
        produce, so that the divergence is infinite.
    TypeError
        If an argument is not a model, or `future` neither True nor False.

    Examples
    --------
    >>> fair = np.zeros((1, 2))
    >>> policy = TabularLM([fair, np.zeros((2, 2))])
    >>> other = TabularLM([fair, np.log([[0.5, 0.5], [0.9, 0.1]])])  # differs after token 1
    >>> sequence_kl_gradient(policy, other)[0].round(3)
    array([[-0.128,  0.128]])
    >>> sequence_kl_gradient(policy, other, future=False)[0] + 0.0
    array([[0., 0.]])

    References
    ----------
    Tang and Munos (2025), *On a few pitfalls in KL divergence gradient estimation for RL*
    (arXiv 2506.09477).  Derived in :doc:`Tokens and sequences </book/sequences>`.
    """
    if not isinstance(policy, TabularLM):
        raise TypeError(f"policy must be a TabularLM, got {type(policy).__name__}")
    _checks.boolean("future", future)
    if policy.kl(other) == np.inf:
        raise ValueError("other must not exclude what policy can produce: KL is infinite")
    to_go = [*policy.kl_to_go(other), np.zeros(1)]
    result = []
    for t, (reach, p, q) in enumerate(policy._visit(other)):
        visited = (reach[:, None] > 0) & (p > -np.inf)
        cost = np.where(visited, p, 0) - np.where(visited, q, 0)
        if future:
            cost += np.where(visited, policy._future(to_go[t + 1], p), 0)
        chance = np.exp(p)
        gradient = reach[:, None] * chance * (cost - (chance * cost).sum(axis=1, keepdims=True))
        # Contexts that only the other model tells apart are one row of the policy's.
        rows = policy.tables[t].shape
        result.append(gradient.reshape(-1, *rows).sum(axis=0))
    return result


def reward_to_go(values: Array, mask: Array = None, *, discount: float = 1.0) -> Array:
    r"""Sum of what is still to come, at each token: :math:`\sum_{u \ge t} \gamma^{u - t} x_u`.

    With the log-ratios k1 as `values`, the mean of its product with the gradient of the tokens'
    log-probabilities is the gradient of the sequence divergence.

    Parameters
    ----------
    values : array_like
        Shape (..., tokens): one number per token.
    mask : array_like of bool, optional
        Of the shape of `values`; True for the tokens that count.  The others are never read, in
        value or in gradient: there may be NaN.
    discount : float
        γ in [0, 1]; each position counts as one step, masked or not.  0 leaves the values as
        they are.

    Returns
    -------
    array
        The sums, in the shape of `values`; 0 where the mask is False.

    Raises
    ------
    ValueError
        If `values` is empty or has no axis, shapes differ, a value that counts is not finite, or
        `discount` is not in [0, 1].
    TypeError
        If `values` is not real numbers, `mask` not boolean, or `discount` not a number.

    Examples
    --------
    >>> reward_to_go([[1.0, 2.0, 3.0]])
    array([[6., 5., 3.]])
    >>> reward_to_go([[1.0, 2.0, np.nan]], [[True, True, False]])
    array([[3., 2., 0.]])

    References
    ----------
    Tang and Munos (2025), arXiv 2506.09477; Yao et al. (2026), *Future-KL regularized GRPO*
    (arXiv 2601.10201).  Derived in :doc:`Tokens and sequences </book/sequences>`.
    """
    _checks.real("discount", discount)
    if not 0 <= discount <= 1:
        raise ValueError(f"discount must be in [0, 1], got {discount}")
    xp, values = floats(values=values)
    if values.ndim == 0 or 0 in values.shape:
        raise ValueError(f"values must have tokens, got shape {_checks.shape(values)}")
    keep = xp.ones_like(values, dtype=xp.bool) if mask is None else boolean("mask", mask, values)
    _checks.same_shape("values", values, "mask", keep)
    # Not a product with the mask: 0 * NaN is NaN, here and in the gradient.
    values = xp.where(keep, values, 0.0)
    if fails(xp.all(xp.isfinite(values))):
        raise ValueError("values must be finite where mask is True")
    sums = [values[..., -1]]
    for t in range(values.shape[-1] - 2, -1, -1):
        sums.append(values[..., t] + discount * sums[-1])
    return xp.where(keep, xp.stack(sums[::-1], axis=-1), 0.0)
