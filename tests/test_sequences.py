import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings

from kltutorial import (
    TabularLM,
    example_pair,
    kl_divergence,
    reward_to_go,
    sequence_kl_gradient,
)
from tests.strategies import seeds

ORDERS = [None, 0, 1, 2]
FORWARD, BACKWARD = 0.2896768157, 0.3126458469  # of example_pair, enumerated with mpmath


def tables(rng, vocabulary, horizon, order):
    """Logits of every position, made here so that nothing rests on TabularLM.random."""
    depth = [t if order is None else min(t, order) for t in range(horizon)]
    return [rng.normal(size=(vocabulary**d, vocabulary)) for d in depth]


def token_log_probs(logits, sequence, order, eos):
    """One sequence's log-probabilities, looked up with a dictionary of prefixes."""
    vocabulary = logits[0].shape[1]
    result = []
    for t, token in enumerate(sequence):
        if eos is not None and eos in sequence[:t]:
            result.append(0.0)
            continue
        depth = t if order is None else min(t, order)
        rows = dict(zip(itertools.product(range(vocabulary), repeat=depth), logits[t], strict=True))
        row = rows[tuple(sequence[t - depth : t])]
        result.append(row[token] - np.log(np.exp(row).sum()))
    return result


def complete(vocabulary, horizon, eos):
    """Every sequence, with all that follows an end token replaced by it."""
    found = set()
    for sequence in itertools.product(range(vocabulary), repeat=horizon):
        end = sequence.index(eos) if eos in sequence else horizon
        found.add(sequence[:end] + (eos,) * (horizon - end))
    return sorted(found)


@pytest.mark.parametrize("eos", [None, 0, 2])
@pytest.mark.parametrize("order", ORDERS)
def test_log_prob_looks_up_the_right_row(order, eos):
    logits = tables(np.random.default_rng(0), 3, 4, order)
    every = complete(3, 4, eos)
    expected = [token_log_probs(logits, s, order, eos) for s in every]
    np.testing.assert_allclose(TabularLM(logits, eos=eos).log_prob(every), expected, rtol=1e-13)


@pytest.mark.parametrize("eos", [None, 0, 2])
@pytest.mark.parametrize("order", ORDERS)
def test_sequences_are_every_sequence_once_and_their_probabilities_sum_to_one(order, eos):
    model = TabularLM.random(3, 4, np.random.default_rng(1), order=order, eos=eos)
    assert model.sequences().tolist() == [list(s) for s in complete(3, 4, eos)]
    total = np.exp(model.log_prob(model.sequences()).sum(axis=1)).sum()
    assert total == pytest.approx(1, abs=1e-14)


def brute_kl(p, q):
    every = p.sequences()
    log_p, log_q = (model.log_prob(every).sum(axis=1) for model in (p, q))
    return np.exp(log_p) @ (log_p - log_q)


@pytest.mark.parametrize("eos", [None, 1])
@pytest.mark.parametrize("orders", list(itertools.product(ORDERS, ORDERS)), ids=str)
def test_kl_is_that_of_brute_enumeration(orders, eos):
    rng = np.random.default_rng(2)
    p, q = (TabularLM(tables(rng, 3, 4, order), eos=eos) for order in orders)
    assert p.kl(q) == pytest.approx(brute_kl(p, q), rel=1e-12, abs=0)
    assert abs(p.kl(q) - q.kl(p)) > 1e-3  # so a swap would not pass


@settings(max_examples=40)
@given(seeds, st.integers(1, 4), st.integers(1, 4), st.sampled_from(ORDERS),
       st.sampled_from([None, 0]))  # fmt: skip
def test_kl_is_non_negative_and_that_of_brute_enumeration(seed, vocabulary, horizon, order, eos):
    rng = np.random.default_rng(seed)
    p = TabularLM.random(vocabulary, horizon, rng, order=order, eos=eos)
    q = p.perturbed(1.0, rng)
    assert p.kl(p) == 0
    assert p.kl(q) >= 0
    assert p.kl(q) == pytest.approx(brute_kl(p, q), rel=1e-12, abs=1e-14)


def test_kl_without_context_is_horizon_times_that_of_one_token():
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.5, 0.3])
    one = kl_divergence(p, q)
    got = TabularLM([np.log(p)[None]] * 6).kl(TabularLM([np.log(q)[None]] * 6))
    assert got == pytest.approx(6 * one, rel=1e-14, abs=0)


def test_kl_of_a_long_markov_chain_matches_the_matrix_recursion():
    rng = np.random.default_rng(3)
    p, q = (TabularLM.random(50, 100, rng, order=1) for _ in range(2))

    def transitions(model):
        rows = np.arange(50)
        pairs = np.zeros((50, 50, 100), int)
        pairs[:, :, 0], pairs[:, :, 1] = rows[:, None], rows
        first_two = model.log_prob(pairs.reshape(-1, 100))[:, :2].reshape(50, 50, 2)
        return np.exp(first_two[:, 0, 0]), np.exp(first_two[:, :, 1])

    (start_p, step_p), (start_q, step_q) = transitions(p), transitions(q)
    expected, state = kl_divergence(start_p, start_q), start_p
    for _ in range(99):
        expected += state @ kl_divergence(step_p, step_q)
        state = state @ step_p
    assert p.kl(q) == pytest.approx(expected, rel=1e-12, abs=0)


def test_kl_is_infinite_where_the_other_model_excludes_a_sequence_and_only_there():
    never = -np.inf
    p = TabularLM([[[0.0, never]], np.zeros((2, 2))])  # never begins with token 1
    unreached = TabularLM([[[0.0, 0.0]], [[0.0, 0.0], [0.0, never]]])
    reached = TabularLM([[[0.0, 0.0]], [[0.0, never], [0.0, 0.0]]])
    assert p.kl(unreached) == pytest.approx(np.log(2), rel=1e-14, abs=0)
    assert p.kl(reached) == np.inf
    after_the_end = TabularLM([[[0.0, 0.0]], [[0.0, never], [0.0, 0.0]]], eos=0)
    assert TabularLM([[[0.0, 1.0]], np.zeros((2, 2))], eos=0).kl(after_the_end) < np.inf


@pytest.mark.parametrize("eos", [None, 1])
@pytest.mark.parametrize("order", ORDERS)
def test_samples_have_the_exact_frequencies(order, eos):
    model = TabularLM.random(3, 3, np.random.default_rng(4), order=order, eos=eos)
    n = 20_000
    drawn = model.sample(n, np.random.default_rng(5))
    tokens = drawn if eos is None else drawn[0]
    every = model.sequences()
    index = {tuple(s): i for i, s in enumerate(every.tolist())}
    counts = np.bincount([index[tuple(s)] for s in tokens.tolist()], minlength=len(every))
    expected = n * np.exp(model.log_prob(every).sum(axis=1))
    keep = expected > 5
    observed = [*counts[keep], counts[~keep].sum()] if not keep.all() else counts
    predicted = [*expected[keep], expected[~keep].sum()] if not keep.all() else expected
    assert scipy.stats.chisquare(observed, predicted).pvalue > 1e-3
    # Of another model with the same start these could not be a sample.
    other = n * np.exp(model.perturbed(0.2, np.random.default_rng(6)).log_prob(every).sum(axis=1))
    assert scipy.stats.chisquare(counts, other).pvalue < 1e-6


def test_samples_are_padded_with_the_end_token_and_the_mask_includes_the_first():
    model = TabularLM.random(3, 6, np.random.default_rng(7), eos=2)
    tokens, mask = model.sample(500, np.random.default_rng(8))
    assert tokens.dtype.kind == "i"
    assert mask.dtype == bool
    lengths = mask.sum(axis=1)
    assert set(lengths) == {1, 2, 3, 4, 5, 6}
    for row, keep, length in zip(tokens, mask, lengths, strict=True):
        assert keep[:length].all()
        assert (row[: length - 1] != 2).all()
        assert length == 6 or (row[length - 1 :] == 2).all()
    log_prob = model.log_prob(tokens)
    assert (log_prob[~mask] == 0).all()
    assert (log_prob[mask] < 0).all()


def test_what_stands_after_an_end_token_does_not_matter():
    model = TabularLM.random(3, 3, np.random.default_rng(9), eos=2)
    np.testing.assert_array_equal(model.log_prob([[0, 2, 2]]), model.log_prob([[0, 2, 1]]))


def test_log_prob_and_sample_estimate_the_exact_divergence():
    p, q = example_pair()
    tokens = p.sample(20_000, np.random.default_rng(0))
    k1 = (p.log_prob(tokens) - q.log_prob(tokens)).sum(axis=1)
    assert k1.mean() == pytest.approx(p.kl(q), abs=4 * k1.std() / np.sqrt(len(k1)))


class Fixed(np.random.Generator):
    """A generator that draws the same number for ever."""

    def __init__(self, value):
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self, size=None):
        return np.full(size, self.value)


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])  # the ends of what a generator can return
def test_a_token_of_probability_zero_is_never_drawn(draw):
    possible = np.log(np.full(10, 0.1))  # their cumulative sum is 1 - 2**-53
    model = TabularLM([[[-np.inf, *possible, -np.inf]]])
    assert 1 <= model.sample(1, Fixed(draw)).item() <= 10


@pytest.mark.parametrize("order", ORDERS)
def test_random_models_depend_on_the_last_tokens_only(order):
    model = TabularLM.random(3, 4, np.random.default_rng(10), order=order)
    log_prob = model.log_prob(model.sequences()).reshape(3, 3, 3, 3, 4)
    last = log_prob[..., 3]  # of token 4, as a function of all four
    for position in range(3):
        depends = not np.allclose(last, last.take([0], axis=position), atol=1e-9)
        assert depends == (order is None or 3 - position <= order)
    if order == 1:  # positions from `order` on share one table
        np.testing.assert_array_equal(log_prob[0, 1, 2, 0, 2], log_prob[0, 0, 1, 2, 3])


def test_perturbed_models_differ_by_the_noise_asked_for():
    model = TabularLM.random(50, 2, np.random.default_rng(11))
    other = model.perturbed(0.5, np.random.default_rng(12))
    every = model.sequences()
    ratios = (other.log_prob(every) - model.log_prob(every)).reshape(50, 50, 2)[:, :, 1]
    # 2,450 degrees of freedom: the standard error of the deviation is 1.4 %.
    centred = ratios - ratios.mean(axis=1, keepdims=True)
    assert centred.std() * np.sqrt(50 / 49) == pytest.approx(0.5, rel=4 * 0.0143)
    assert model.perturbed(0, np.random.default_rng(0)).kl(model) < 1e-28


def test_perturbing_keeps_the_end_token_and_impossible_tokens():
    model = TabularLM([[[0.0, 1.0, -np.inf]]], eos=1)
    other = model.perturbed(0.5, np.random.default_rng(0))
    assert other.eos == 1
    assert np.exp(other.log_prob([[2]])) == 0


def test_example_pair_is_fixed():
    policy, reference = example_pair()
    for model in (policy, reference):
        assert (model.vocabulary, model.horizon, model.eos) == (4, 5, None)
    assert len(policy.sequences()) == 1024
    assert policy.kl(reference) == pytest.approx(FORWARD, abs=1e-10)
    assert reference.kl(policy) == pytest.approx(BACKWARD, abs=1e-10)
    assert brute_kl(policy, reference) == pytest.approx(FORWARD, abs=1e-10)
    again, _ = example_pair()
    every = policy.sequences()
    np.testing.assert_array_equal(again.log_prob(every), policy.log_prob(every))


def test_models_say_what_they_are():
    rng = np.random.default_rng(0)
    assert repr(TabularLM.random(2, 3, rng)) == "TabularLM(vocabulary=2, horizon=3)"
    assert repr(TabularLM.random(2, 3, rng, eos=1)) == "TabularLM(vocabulary=2, horizon=3, eos=1)"


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, np.uint64])
def test_tokens_may_be_any_integers(dtype):
    model = TabularLM.random(7, 4, np.random.default_rng(0))
    tokens = model.sample(30, np.random.default_rng(1))
    np.testing.assert_array_equal(model.log_prob(tokens.astype(dtype)), model.log_prob(tokens))


# --- input ----------------------------------------------------------------------------------------

ONE, TWO = np.zeros((1, 2)), np.zeros((2, 2))


@pytest.mark.parametrize(
    ("bad", "options", "error", "message"),
    [
        ([], {}, ValueError, "^tables must hold at least one position"),
        ([[0.0, 0.0]], {}, ValueError, r"^tables\[0\] must have shape"),
        ([0.0], {}, ValueError, r"tables\[0\]"),
        ([[[]]], {}, ValueError, r"^tables\[0\] must not be empty"),
        ([TWO], {}, ValueError, r"^tables\[0\] must have shape"),
        ([ONE, np.zeros((3, 2))], {}, ValueError, r"^tables\[1\] must have shape"),
        ([ONE, np.zeros((2, 3))], {}, ValueError, r"^tables\[1\] must have shape"),
        ([ONE, TWO, ONE], {}, ValueError, r"^tables\[2\] must have shape"),
        ([ONE, ONE, TWO], {}, ValueError, r"^tables\[2\] must have 1 contexts, as tables\[1\]$"),
        ([ONE, [[0.0, np.nan]]], {}, ValueError, r"^tables\[1\] must not contain NaN"),
        ([[[0.0, np.inf]]], {}, ValueError, r"^tables\[0\] must not contain \+inf"),
        ([[[-np.inf] * 2]], {}, ValueError, r"^tables\[0\] must allow some outcome"),
        ([[[1j, 0]]], {}, TypeError, r"^tables\[0\] must be real numbers"),
        ([[["a", "b"]]], {}, TypeError, r"^tables\[0\] must be real numbers"),
        ([ONE], {"eos": 2}, ValueError, "^eos must be a token in"),
        ([ONE], {"eos": -1}, ValueError, "^eos must be a token in"),
        ([ONE], {"eos": 0.5}, TypeError, "^eos must be an integer"),
        ([ONE], {"eos": "a"}, TypeError, "^eos must be an integer"),
    ],
    ids=itertools.count(),
)
def test_bad_tables_are_refused(bad, options, error, message):
    with pytest.raises(error, match=message):
        TabularLM(bad, **options)


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ((0, 3), {}, ValueError, "^vocabulary and horizon must be positive"),
        ((3, 0), {}, ValueError, "^vocabulary and horizon must be positive"),
        ((2.5, 3), {}, TypeError, "^vocabulary must be an integer"),
        ((3, "2"), {}, TypeError, "^horizon must be an integer"),
        ((2, 3), {"order": -1}, ValueError, "^order must not be negative"),
        ((2, 3), {"order": 0.5}, TypeError, "^order must be an integer"),
        ((2, 3), {"eos": 2}, ValueError, "^eos must be a token in"),
        ((2, 3), {"rng": 0}, TypeError, r"^rng must be a numpy.random.Generator"),
    ],
    ids=itertools.count(),
)
def test_bad_sizes_are_refused(sizes, options, error, message):
    options = {"rng": np.random.default_rng(0)} | options
    with pytest.raises(error, match=message):
        TabularLM.random(*sizes, **options)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ([[0.0, 1.0]], TypeError, "^tokens must be integers"),
        ([[True, False]], TypeError, "^tokens must be integers"),
        ([["a", "b"]], TypeError, "^tokens must be integers"),
        ([0, 1], ValueError, r"^tokens must have shape \(n, 2\)"),
        ([[0, 1, 1]], ValueError, r"^tokens must have shape \(n, 2\)"),
        ([[0, 2]], ValueError, r"^tokens must be in 0..1"),
        ([[-1, 0]], ValueError, r"^tokens must be in 0..1"),
        (np.zeros((0, 2), int), ValueError, "^tokens must not be empty"),
    ],
    ids=itertools.count(),
)
def test_bad_tokens_are_refused(tokens, error, message):
    with pytest.raises(error, match=message):
        TabularLM([ONE, TWO]).log_prob(tokens)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, rng: m.sample(0, rng), ValueError, "^n must be positive"),
        (lambda m, rng: m.sample(1.5, rng), TypeError, "^n must be an integer"),
        (lambda m, rng: m.sample(3, None), TypeError, r"^rng must be a numpy.random.Generator"),
        (lambda m, rng: m.perturbed(np.nan, rng), ValueError, "^scale must be finite"),
        (lambda m, rng: m.perturbed("1", rng), TypeError, "^scale must be a number"),
        (lambda m, rng: m.perturbed(1.0, 0), TypeError, r"^rng must be a numpy.random.Generator"),
        (lambda m, rng: m.kl("m"), TypeError, "^other must be a TabularLM"),
        (lambda m, rng: m.kl(TabularLM([ONE])), ValueError, r"^other must have .* \(2, 1, None\)"),
        (lambda m, rng: m.kl(TabularLM([ONE, TWO], eos=0)), ValueError, r"^other .* \(2, 2, 0\)"),
        (lambda m, rng: m.kl(TabularLM([np.zeros((1, 3))] * 2)), ValueError, r"^other must have"),
    ],
    ids=itertools.count(),
)
def test_bad_arguments_of_methods_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(TabularLM([ONE, TWO]), np.random.default_rng(0))


def test_input_is_not_modified_and_not_kept():
    table = np.array([[0.0, 1.0]])
    model = TabularLM([table])
    before = model.log_prob([[0]])
    table[:] = [5.0, -5.0]
    np.testing.assert_array_equal(model.log_prob([[0]]), before)
    tokens = np.array([[0], [1]])
    tokens.flags.writeable = False
    model.log_prob(tokens)


# --- tokens and sequences -------------------------------------------------------------------------


def context_number(sequence, t, order, vocabulary):
    """Number of the context of position t, read off the sequence digit by digit."""
    depth = t if order is None else min(t, order)
    number = 0
    for token in sequence[t - depth : t]:
        number = number * vocabulary + token
    return number


def longer(order_p, order_q):
    return None if None in (order_p, order_q) else max(order_p, order_q)


def conditional_kl(p, q, prefix, horizon):
    """Divergence of the next token after one prefix, from the two models' log_prob."""
    rest = horizon - len(prefix) - 1
    rows = [[*prefix, token, *[0] * rest] for token in range(p.vocabulary)]
    log_p, log_q = p.log_prob(rows)[:, len(prefix)], q.log_prob(rows)[:, len(prefix)]
    return np.exp(log_p) @ (log_p - log_q)


PAIRS = [(None, None), (1, 1), (0, 1), (1, None), (None, 1), (2, 0), (0, 0)]


def pair(orders, eos, seed=12, vocabulary=3, horizon=4):
    rng = np.random.default_rng(seed)
    return [TabularLM(tables(rng, vocabulary, horizon, order), eos=eos) for order in orders]


@pytest.mark.parametrize("order", ORDERS)
def test_tables_are_the_log_probabilities_and_cannot_be_changed(order):
    logits = tables(np.random.default_rng(13), 3, 4, order)
    model = TabularLM(logits)
    assert isinstance(model.tables, tuple)
    for table, given_logits in zip(model.tables, logits, strict=True):
        chance = np.exp(given_logits)
        expected = np.log(chance / chance.sum(axis=1, keepdims=True))
        np.testing.assert_allclose(table, expected, rtol=1e-12)
        with pytest.raises(ValueError, match="read-only"):
            table[0, 0] = 0
    assert TabularLM(model.tables).kl(model) < 1e-15  # they make the same model again


@pytest.mark.parametrize("eos", [None, 1])
@pytest.mark.parametrize("orders", PAIRS, ids=str)
def test_token_kl_is_the_divergence_of_the_next_token_at_each_prefix(orders, eos):
    p, q = pair(orders, eos)
    every = p.sequences()
    got = p.token_kl(q, every)
    for sequence, row in zip(every.tolist(), got, strict=True):
        end = sequence.index(eos) if eos in sequence else 3
        expected = [conditional_kl(p, q, sequence[:t], 4) for t in range(end + 1)]
        np.testing.assert_allclose(row[: end + 1], expected, rtol=1e-12)
        assert (row[end + 1 :] == 0).all()


@settings(max_examples=40)
@given(seeds, st.sampled_from(PAIRS), st.sampled_from([None, 0]))
def test_token_kl_is_unbiased_and_no_token_is_noisier_than_its_log_ratio(seed, orders, eos):
    p, q = pair(orders, eos, seed)
    every = p.sequences()
    log_p, log_q = p.log_prob(every), q.log_prob(every)
    chance, exact = np.exp(log_p.sum(axis=1)), p.token_kl(q, every)
    assert chance @ exact.sum(axis=1) == pytest.approx(p.kl(q), rel=1e-12, abs=0)
    means = chance @ exact
    variances = [chance @ (x - means) ** 2 for x in (exact, log_p - log_q)]
    assert (variances[0] <= variances[1] + 1e-14).all()


def test_token_kl_of_long_sequences_finds_its_rows():
    # A prefix read as one number in base 50 would not fit into 64 bits.
    rng = np.random.default_rng(14)
    p = TabularLM.random(50, 30, rng, order=1)
    q = p.perturbed(0.5, rng)
    tokens = p.sample(20, rng)
    got = p.token_kl(q, tokens)
    for t in (1, 15, 29):
        log_p, log_q = (model.tables[t][tokens[:, t - 1]] for model in (p, q))
        expected = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
        np.testing.assert_allclose(got[:, t], expected, rtol=1e-12)


@pytest.mark.parametrize("eos", [None, 1])
@pytest.mark.parametrize("orders", PAIRS, ids=str)
def test_kl_to_go_is_the_expected_rest_after_each_prefix(orders, eos):
    p, q = pair(orders, eos)
    every, order = p.sequences(), longer(*orders)
    log_p, log_q = p.log_prob(every), q.log_prob(every)
    chance = np.exp(log_p.sum(axis=1))
    rest = np.cumsum((log_p - log_q)[:, ::-1], axis=1)[:, ::-1]
    values = p.kl_to_go(q)
    assert [len(v) for v in values] == [
        3 ** (t if order is None else min(t, order)) for t in range(4)
    ]
    for t, got in enumerate(values):
        number = np.array([context_number(row, t, order, 3) for row in every.tolist()])
        unfinished = ~(every[:, :t] == eos).any(axis=1)
        for context in range(len(got)):
            here = (number == context) & unfinished
            # Only an end token leaves a context without unfinished sequences; order 0 sees none.
            expected = chance[here] @ rest[here, t] / chance[here].sum() if here.any() else 0
            assert got[context] == pytest.approx(expected, rel=1e-11, abs=1e-14)
    assert values[0][0] == pytest.approx(p.kl(q), rel=1e-13, abs=0)


def test_kl_to_go_of_a_long_chain_is_the_divergence():
    rng = np.random.default_rng(15)
    p = TabularLM.random(50, 100, rng, order=1)
    q = p.perturbed(0.5, rng)
    assert p.kl_to_go(q)[0][0] == pytest.approx(p.kl(q), rel=1e-12, abs=0)


def test_kl_to_go_is_infinite_only_behind_possible_tokens():
    never = -np.inf
    p = TabularLM([[[0.0, never]], np.zeros((2, 2))])
    q = TabularLM([[[0.0, 0.0]], [[0.0, 0.0], [0.0, never]]])
    first, second = p.kl_to_go(q)
    assert first[0] == pytest.approx(np.log(2))
    np.testing.assert_array_equal(second, [0, np.inf])


def numerical_gradient(objective, logits):
    """Central differences in every logit of every position."""
    result = []
    for t, table in enumerate(logits):
        slope = np.zeros_like(table)
        for index in np.ndindex(table.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [x.copy() for x in logits]
                moved[t][index] += step
                ends.append(objective(moved))
            slope[index] = (ends[0] - ends[1]) / 2e-5
        result.append(slope)
    return result


@pytest.mark.parametrize("eos", [None, 1])
@pytest.mark.parametrize("orders", PAIRS, ids=str)
def test_sequence_gradient_is_that_of_the_enumerated_divergence(orders, eos):
    rng = np.random.default_rng(16)
    logits = tables(rng, 3, 3, orders[0])
    q = TabularLM(tables(rng, 3, 3, orders[1]), eos=eos)
    expected = numerical_gradient(lambda z: brute_kl(TabularLM(z, eos=eos), q), logits)
    got = sequence_kl_gradient(TabularLM(logits, eos=eos), q)
    for slope, exact in zip(got, expected, strict=True):
        np.testing.assert_allclose(slope, exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize("eos", [None, 1])
@pytest.mark.parametrize("orders", PAIRS, ids=str)
def test_gradient_without_the_future_holds_the_prefixes_fixed(orders, eos):
    rng = np.random.default_rng(17)
    logits = tables(rng, 3, 3, orders[0])
    p, q = TabularLM(logits, eos=eos), TabularLM(tables(rng, 3, 3, orders[1]), eos=eos)
    every = p.sequences()
    chance = np.exp(p.log_prob(every).sum(axis=1))  # of the prefixes: not differentiated

    def token_loss(z):
        return chance @ TabularLM(z, eos=eos).token_kl(q, every).sum(axis=1)

    got = sequence_kl_gradient(p, q, future=False)
    for slope, exact in zip(got, numerical_gradient(token_loss, logits), strict=True):
        np.testing.assert_allclose(slope, exact, rtol=0, atol=1e-9)


@settings(max_examples=30)
@given(seeds, st.sampled_from(PAIRS), st.sampled_from([None, 0]), st.booleans())
def test_sequence_gradient_ignores_a_shift_of_the_logits(seed, orders, eos, future):
    p, q = pair(orders, eos, seed)
    gradient = sequence_kl_gradient(p, q, future=future)
    assert [g.shape for g in gradient] == [table.shape for table in p.tables]
    for slope in gradient:
        np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-12)
    # The last token has no future.
    np.testing.assert_array_equal(gradient[-1], sequence_kl_gradient(p, q, future=not future)[-1])


def test_sequence_gradient_at_a_fork_between_a_subtree_of_two_nats_and_one_of_none():
    fair = np.log([[0.5, 0.5]])
    bent = np.array([1, 1]) - np.array([1, -1]) * np.sqrt(1 - np.exp(-4))
    policy = TabularLM([fair, fair.repeat(2, axis=0)])
    other = TabularLM([fair, np.log([bent / 2, [0.5, 0.5]])])
    np.testing.assert_allclose(policy.kl_to_go(other)[1], [2, 0], rtol=1e-12)
    root, _ = sequence_kl_gradient(policy, other)
    np.testing.assert_allclose(root, [[0.5, -0.5]], rtol=1e-12)
    root, _ = sequence_kl_gradient(policy, other, future=False)
    np.testing.assert_array_equal(root, [[0, 0]])


def test_sequence_gradient_with_impossible_and_unreached_tokens():
    never = -np.inf
    p = TabularLM([[[0.0, 1.0, never]], np.zeros((3, 3))])
    q = TabularLM([[[0.0, 0.0, never]], [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [0.0, never, never]]])
    gradient = sequence_kl_gradient(p, q)
    assert np.isfinite(np.concatenate([g.ravel() for g in gradient])).all()
    assert gradient[0][0, 2] == 0
    assert (gradient[1][2] == 0).all()
    excludes = TabularLM([[[0.0, never, never]], np.zeros((3, 3))])
    with pytest.raises(ValueError, match=r"^other must not exclude what policy can produce"):
        sequence_kl_gradient(p, excludes)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, other: m.token_kl(other, [[0, 1]]),
        lambda m, other: m.kl_to_go(other),
        lambda m, other: sequence_kl_gradient(m, other),
    ],
    ids=itertools.count(),
)
def test_models_that_do_not_fit_together_are_refused(call):
    model = TabularLM([ONE, TWO])
    with pytest.raises(TypeError, match=r"^other must be a TabularLM"):
        call(model, "m")
    with pytest.raises(ValueError, match=r"^other must have .* \(2, 2, None\)"):
        call(model, TabularLM([ONE, TWO], eos=1))


def test_other_bad_arguments_are_refused():
    model = TabularLM([ONE, TWO])
    with pytest.raises(TypeError, match=r"^policy must be a TabularLM"):
        sequence_kl_gradient(ONE, model)
    with pytest.raises(ValueError, match=r"^tokens must be in 0..1"):
        model.token_kl(model, [[0, 2]])


@given(
    st.integers(1, 6),
    st.floats(0, 1),
    seeds,
    st.sampled_from([(), (3,), (2, 3)]),
)
def test_reward_to_go_is_the_discounted_sum_of_the_rest(tokens, discount, seed, leading):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(*leading, tokens))
    mask = rng.random(values.shape) < 0.7
    weight = np.array([[discount ** (u - t) if u >= t else 0 for u in range(tokens)]
                       for t in range(tokens)])  # fmt: skip
    np.testing.assert_allclose(
        reward_to_go(values, discount=discount), values @ weight.T, atol=1e-12
    )
    expected = mask * ((mask * values) @ weight.T)
    hidden = np.where(mask, values, np.nan)
    np.testing.assert_allclose(reward_to_go(hidden, mask, discount=discount), expected, atol=1e-12)


def test_reward_to_go_leaves_its_input_and_keeps_its_type():
    values = np.array([1, 2, 3], np.float32)
    values.flags.writeable = False
    got = reward_to_go(values)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [6, 5, 3])
    np.testing.assert_array_equal(reward_to_go(values, discount=0), values)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((1.0,), {}, ValueError, "^values must have tokens"),
        ((np.zeros((2, 0)),), {}, ValueError, "^values must have tokens"),
        (([np.nan],), {}, ValueError, "^values must be finite where mask is True"),
        (([[0.0, np.inf]], [[False, True]]), {}, ValueError, "^values must be finite"),
        (([1j],), {}, TypeError, "^values must be real numbers"),
        (([1.0], [1]), {}, TypeError, "^mask must be boolean"),
        (([1.0], [True, True]), {}, ValueError, "^values and mask must have the same shape"),
        (([1.0],), {"discount": 1.1}, ValueError, r"^discount must be in \[0, 1\]"),
        (([1.0],), {"discount": np.nan}, ValueError, r"^discount must be in \[0, 1\]"),
        (([1.0],), {"discount": "1"}, TypeError, "^discount must be a number"),
    ],
    ids=itertools.count(),
)
def test_bad_arguments_of_reward_to_go_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        reward_to_go(*arguments, **options)
