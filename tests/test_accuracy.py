import pytest

from tests.accuracy import ROWS


@pytest.mark.parametrize("name", ROWS)
def test_the_worst_error_is_within_its_bound(name):
    row = ROWS[name]
    worst, _ = row.worst()
    assert worst <= row.bound
