"""Distinct numbers against NumPy's."""

import numpy as np
import pytest

from phasic_mpi import _core


@pytest.mark.parametrize(
    ("count", "end"), [(0, 0), (0, 5), (1, 1), (3, 64), (500, 65), (900, 9000)]
)
def test_distinct_numbers_are_those_of_numpy(count: int, end: int) -> None:
    numbers = np.random.default_rng(count).integers(0, max(end, 1), count)
    for given in (numbers, np.sort(numbers), numbers[::-1].copy()):
        found, index = _core.distinct(given, end)
        expected, inverse = np.unique(given, return_inverse=True)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(index, inverse)


def test_the_ends_of_a_word_are_numbers_like_others() -> None:
    numbers = np.array([0, 63, 64, 127, 128, 63, 0])
    found, index = _core.distinct(numbers, 129)
    assert found.tolist() == [0, 63, 64, 127, 128]
    assert index.tolist() == [0, 1, 2, 3, 4, 1, 0]


@pytest.mark.parametrize("number", [-1, 8, 1 << 62])
def test_numbers_out_of_range_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        _core.distinct(np.array([0, number, 7]), 8)
