"""Arguments of several libraries, types and devices; what is checked while numbers are unknown."""

from __future__ import annotations

import subprocess
import sys

import array_api_strict as strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kltutorial as kl
from kltutorial import _checks
from kltutorial._arrays import boolean, detach, fails, floats, is_traced, namespace, widest

DEVICE = strict.Device("device1")


def on_device(values, dtype=strict.float32):
    return strict.asarray(values, dtype=dtype, device=DEVICE)


def test_the_package_imports_no_other_library():
    code = "import sys, kltutorial; print({'torch', 'jax', 'array_api_strict'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"


def test_lists_numbers_and_numpy_arrays_are_for_numpy():
    assert namespace([1.0], 2, np.ones(3), np.float32(1)) is np
    assert namespace([1.0], on_device([1.0])) is strict


def test_lists_and_numpy_arrays_take_the_type_and_the_device_of_the_arrays_beside_them():
    xp, *arrays = floats(a=[1, 2], b=on_device([1.0, 2.0]), c=np.array([0.5, 0.25]), d=3)
    assert xp is strict
    for array, values in zip(arrays, ([1, 2], [1, 2], [0.5, 0.25], 3), strict=True):
        assert (array.dtype, array.device) == (strict.float32, DEVICE)
        assert np.asarray(array.to_device(strict.Device("CPU_DEVICE"))).tolist() == values


def test_the_order_of_the_arguments_is_kept():
    _, a, b, c = floats(a=[1.0], b=jnp.asarray([2.0]), c=[3.0])
    assert [float(x[0]) for x in (a, b, c)] == [1, 2, 3]


def test_libraries_that_are_mixed_are_refused_with_the_names_of_the_arguments():
    with pytest.raises(TypeError, match=r"^p, r must be arrays of one library$"):
        floats(p=on_device([1.0]), q=[1.0], r=jnp.asarray([1.0]))
    with pytest.raises(TypeError, match=r"^logp, logq must be arrays of one library$"):
        kl.k3(on_device([-1.0]), jnp.asarray([-1.0]))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([1, 2], np.float64),
        (np.array([1], np.uint8), np.float64),
        (np.array([1], np.float16), np.float32),
        (np.array([1], np.float32), np.float32),
        (jnp.asarray([1], jnp.float16), jnp.float32),
        (jnp.asarray([1], jnp.bfloat16), jnp.float32),
        (jnp.asarray([1]), jnp.float32),  # where JAX has no float64
        (on_device([1], strict.int64), strict.float64),
        (on_device([1], strict.float32), strict.float32),
    ],
    ids=repr,
)
def test_16_bits_become_32_and_integers_the_default_float(value, dtype):
    xp, array = floats(value=value)
    assert xp is namespace(value)
    assert array.dtype == dtype


@pytest.mark.parametrize(
    "value",
    [
        [True],
        [1j],
        ["1"],
        [None],
        jnp.asarray([True]),
        jnp.asarray([1j]),
        strict.asarray([True]),
        strict.asarray([1j]),
    ],
    ids=repr,
)
def test_what_is_no_real_number_is_refused_by_name(value):
    with pytest.raises(TypeError, match=r"^x must be real numbers, got dtype "):
        floats(x=value)


@pytest.mark.parametrize("values", [[True, False], [1j, 1j]])
@pytest.mark.parametrize("function", [kl.estimate_kl, kl.kl_from_logits])
def test_what_is_no_real_number_is_refused_where_the_type_is_kept(values, function):
    for array in (np.asarray(values), jnp.asarray(values), strict.asarray(values)):
        with pytest.raises(TypeError, match=r"^(logp|p_logits) must be real numbers, got dtype "):
            function(array, array)


@pytest.mark.parametrize("function", [kl.k3, kl.estimate_kl, kl.kl_from_logits])
def test_a_masked_array_is_refused_since_its_mask_would_be_lost(function):
    masked = np.ma.array([-1.0, -2.0], mask=[False, True])
    with pytest.raises(TypeError, match=r"^(logp|p_logits) must not be a masked array"):
        function(masked, [-1.0, -2.0])


def test_a_mask_of_another_library_is_refused_beside_numpy_arrays():
    keep = strict.asarray([True, False], device=DEVICE)
    with pytest.raises(TypeError, match=r"^where must be a NumPy array as the numbers are, got "):
        kl.estimate_kl(np.zeros(2), np.zeros(2), where=keep)


@pytest.mark.parametrize("like", [np.ones(2), jnp.ones(2), on_device([1.0, 1.0])])
def test_a_mask_is_boolean_and_goes_where_the_numbers_are(like):
    mask = boolean("mask", [True, False], like)
    xp = namespace(like)
    assert namespace(mask) is xp
    assert (mask.dtype, mask.device) == (xp.bool, like.device)
    for wrong in ([1, 0], xp.ones_like(like)):
        with pytest.raises(TypeError, match=r"^mask must be boolean, got dtype "):
            boolean("mask", wrong, like)
    with pytest.raises(ValueError, match=r"^mask must be a rectangular array"):
        boolean("mask", [[True], [True, False]], like)


def test_sums_are_in_64_bits_where_there_are_any():
    assert widest(np) is not np.float32
    assert widest(np) == np.float64
    assert widest(strict) == strict.float64
    assert widest(jnp) == jnp.float32
    with jax.enable_x64(True):
        assert widest(jnp) == jnp.float64


def test_only_what_is_traced_is_unknown():
    seen = []

    def function(x):
        seen.append((is_traced(x), fails(x > 0), fails(x < 0)))
        return jnp.sum(detach(x) * x)

    assert jax.grad(jax.jit(function))(jnp.ones(())) == 1  # of two factors one is held fixed
    function(jnp.ones(()))
    assert seen == [(True, False, False), (False, False, True)]
    assert not is_traced(np.ones(1))


def test_while_traced_numbers_are_not_checked_and_shapes_and_types_are():
    logp, nan = jnp.zeros(2), jnp.asarray([jnp.nan, 0.0])
    with pytest.raises(ValueError, match=r"^logp must be finite"):
        kl.k3(nan, logp)
    assert jnp.isnan(jax.jit(kl.k3)(nan, logp)[0])
    with pytest.raises(ValueError, match="same shape"):
        jax.jit(kl.k3)(logp, jnp.zeros(3))
    with pytest.raises(TypeError, match=r"^logq must be real numbers"):
        jax.jit(kl.k3)(logp, logp > 0)
    assert jax.vmap(kl.k3)(jnp.zeros((3, 2)), jnp.ones((3, 2))).shape == (3, 2)


def test_a_loss_that_is_traced_does_not_look_at_the_mask():
    logp, mask = jnp.zeros((2, 3)), jnp.asarray([[True] * 3, [False] * 3])
    options = {"beta": 0.0, "aggregation": "dr_grpo", "max_length": 2}

    def loss(mask):
        return kl.grpo_loss(logp, None, None, jnp.ones(2), mask, **options).loss

    with pytest.raises(ValueError, match=r"^mask must keep at least one token of each sample; 1 "):
        loss(mask)
    with pytest.raises(ValueError, match=r"^max_length must be at least 3, the longest sample"):
        loss(jnp.ones((2, 3), bool))
    assert jax.jit(loss)(mask) == pytest.approx(-3 / 4)
    with pytest.raises(ValueError, match=r"^logp and mask must have the same shape"):
        jax.jit(loss)(mask[:, :2])


def test_checks_of_another_library_name_the_argument():
    with pytest.raises(ValueError, match=r"^p must sum to 1 along axis -1: a sum is off by 0\.25"):
        _checks.distributions(-1, p=on_device([0.5, 0.25]))
    with pytest.raises(ValueError, match=r"^x must be positive, got -1$"):
        _checks.positive("x", on_device([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"^x must be in \[0, 1\], got 0 to 2$"):
        _checks.unit_interval("x", jnp.asarray([0.0, 2.0]))
    with pytest.raises(ValueError, match=r"^x must not be empty, got shape \(0, 2\)$"):
        _checks.filled("x", jnp.zeros((0, 2)))
    with pytest.raises(TypeError, match=r"^x must be a NumPy array, got "):
        _checks.as_float_array("x", jnp.zeros(2))


def test_probabilities_of_16_bits_are_as_exact_as_these():
    p = jnp.asarray([0.1, 0.2, 0.7], jnp.bfloat16)
    assert abs(float(jnp.sum(p.astype(jnp.float32))) - 1) > 1e-4
    _checks.distributions(-1, p=p)
    with pytest.raises(ValueError, match=r"^p must sum to 1"):
        _checks.distributions(-1, p=p.astype(jnp.float32))


@pytest.mark.parametrize("xp", [np, jnp, strict], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("wrong", [[[1.0, 2.0], [2.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]]])
def test_a_covariance_that_is_not_positive_definite_is_refused(xp, wrong):
    with pytest.raises(ValueError, match=r"^cov must be positive definite$"):
        _checks.covariance("cov", xp.asarray(wrong), 2)
