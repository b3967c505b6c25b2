"""Theta by name: which mappings are theta, and what is said of others."""

import numpy as np
import pytest

from phasic_mpi.errors import EvaluationError
from phasic_mpi.theta import by_parameter, describe_theta, theta_rows

NAMES = ("coalescence", "migration")


def test_a_mapping_is_a_row_in_the_order_of_the_parameters() -> None:
    row = {"migration": 0.5, "coalescence": 1}
    assert theta_rows(row, 2, NAMES).tolist() == [[1.0, 0.5]]
    assert theta_rows([row, {"coalescence": 2, "migration": 3}], 2, NAMES).tolist() == [
        [1.0, 0.5],
        [2.0, 3.0],
    ]
    assert theta_rows([[4.0, 5.0], row], 2, NAMES).tolist() == [[4.0, 5.0], [1.0, 0.5]]
    assert theta_rows({"coalescence": np.float64(1), "migration": np.array(2)}, 2, NAMES).shape == (
        1,
        2,
    )


def test_vectors_are_taken_as_they_are() -> None:
    assert theta_rows([1, 2], 2, NAMES).tolist() == [[1, 2]]
    assert theta_rows(np.ones((3, 2)), 2).shape == (3, 2)
    assert theta_rows([], 0).shape == theta_rows({}, 0).shape == (1, 0)


@pytest.mark.parametrize(
    ("theta", "problem"),
    [
        ({"coalescence": 1, "growth": 2}, "unknown: 'growth'; missing: migration"),
        ({"coalescence": 1}, "the parameters coalescence, migration; unknown: none; missing: migr"),
        ({"coalescence": 1, "migration": 1, 3: 4}, "unknown: 3; missing: none"),
        ([{"coalescence": 1, "migration": 1}, {}], "missing: coalescence, migration"),
        (
            {"coalescence": [1, 2], "migration": [3, 4]},
            "for coalescence, got shape (2,)",
        ),
        ([{"coalescence": 1, "migration": 1}, [1, 2, 3]], "expected theta of shape (n_theta, 2): "),
        ([[1, 2], [3]], "expected theta of shape (n_theta, 2): "),
        ({"coalescence": 1, "migration": np.nan}, "got theta = [coalescence=1.0, migration=nan]"),
    ],
)
def test_other_names_and_shapes_are_refused(theta: object, problem: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        theta_rows(theta, 2, NAMES)  # type: ignore[arg-type]
    assert problem in caught.value.problem


def test_parameters_without_names_take_no_mapping() -> None:
    with pytest.raises(
        EvaluationError, match="the parameters of this graph have no names, got 'a'"
    ):
        theta_rows({"a": 1.0}, 1)


def test_values_by_parameter_may_be_anything() -> None:
    assert by_parameter({"b": None, "a": "x"}, ("a", "b")) == ["x", None]


def test_theta_is_described_with_its_names_or_without() -> None:
    assert describe_theta(np.array([1.0, 0.5])) == "[1.0, 0.5]"
    assert describe_theta((1, 0.5), NAMES) == "[coalescence=1.0, migration=0.5]"
