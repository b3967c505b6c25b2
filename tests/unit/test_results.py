"""Names, units and shapes of results, and how they are written."""

import csv
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.quantities import Request, quantities
from phasic_mpi.results import Results, tables, to_csv, to_hdf5, to_json

THETA = np.array([[1.0, 0.1], [2.0, 1 / 3], [3.0, 1e-300]])


def results_of(request: Request, *, n_rewards: int | None = None) -> Results:
    """Made-up values."""
    asked = quantities(
        request, n_parameters=2, n_rewards=n_rewards, has_rewards=n_rewards is not None
    )
    rng = np.random.default_rng(1)
    values = {q.name: rng.uniform(size=(len(THETA), *q.shape)) for q in asked}
    return Results(THETA, asked, values)


EVERYTHING = Request(
    n_moments=2,
    points={"pdf": (0.0, 0.1), "cdf": (0.5,), "survival": (2.0,), "quantile": (0.05, 0.5)},
    covariance=True,
    gradient=True,
)


def test_columns_have_names_with_coordinates_and_units() -> None:
    request = Request(n_moments=2, points={"pdf": (0.0, 0.1), "quantile": (0.5,)}, gradient=True)
    header, *_ = csv.reader(io.StringIO(to_csv(results_of(request))))
    assert header == [
        *("theta_1", "theta_2", "moment_1 [time]", "moment_2 [time^2]"),
        *("pdf_at_0.0 [1/time]", "pdf_at_0.1 [1/time]", "quantile_at_0.5 [time]"),
        *("d_moment_1_d_theta_1 [time/theta]", "d_moment_1_d_theta_2 [time/theta]"),
        *("d_moment_2_d_theta_1 [time^2/theta]", "d_moment_2_d_theta_2 [time^2/theta]"),
        *("d_pdf_at_0.0_d_theta_1 [1/time/theta]", "d_pdf_at_0.0_d_theta_2 [1/time/theta]"),
        *("d_pdf_at_0.1_d_theta_1 [1/time/theta]", "d_pdf_at_0.1_d_theta_2 [1/time/theta]"),
        *("d_quantile_at_0.5_d_theta_1 [time/theta]", "d_quantile_at_0.5_d_theta_2 [time/theta]"),
    ]


def test_columns_of_several_rewards_name_the_reward() -> None:
    request = Request(n_moments=1, points={"cdf": (0.5,)}, covariance=True)
    header, *_ = csv.reader(io.StringIO(to_csv(results_of(request, n_rewards=2))))
    assert header == [
        *("theta_1", "theta_2", "reward_1_moment_1 [reward]", "reward_2_moment_1 [reward]"),
        *("reward_1_cdf_at_0.5 [1]", "reward_2_cdf_at_0.5 [1]"),
        *("covariance_1_1 [reward^2]", "covariance_1_2 [reward^2]"),
        *("covariance_2_1 [reward^2]", "covariance_2_2 [reward^2]"),
        *("correlation_1_1 [1]", "correlation_1_2 [1]", "correlation_2_1 [1]"),
        "correlation_2_2 [1]",
    ]


def named_results(n_rewards: int | None) -> Results:
    """Made-up values of parameters and rewards with names."""
    rewards = ("length", "loss")[: n_rewards or 1]
    parameters = ("coalescence", "migration")
    asked = quantities(
        Request(n_moments=1, covariance=n_rewards is not None, gradient=True),
        n_parameters=2,
        n_rewards=n_rewards,
        has_rewards=True,
        parameter_names=parameters,
        reward_names=rewards,
    )
    values = {q.name: np.ones((len(THETA), *q.shape)) for q in asked}
    return Results(THETA, asked, values, parameters, rewards)


def test_columns_have_the_names_of_parameters_and_rewards() -> None:
    header, *_ = csv.reader(io.StringIO(to_csv(named_results(2))))
    assert header[:4] == [
        *("coalescence", "migration", "length_moment_1 [reward]", "loss_moment_1 [reward]")
    ]
    for name in (
        "covariance_length_loss [reward^2]",
        "d_length_moment_1_d_migration [reward/theta]",
        "d_correlation_loss_loss_d_coalescence [1/theta]",
    ):
        assert name in header
    assert len(set(header)) == len(header)


def test_a_reward_alone_is_named_in_titles_and_not_in_columns() -> None:
    found = named_results(None)
    header, *_ = csv.reader(io.StringIO(to_csv(found)))
    assert header[:3] == ["coalescence", "migration", "moment_1 [reward]"]
    (table,) = tables(found)
    assert table.title == "Moments of the accumulated reward 'length' [reward^k]"
    assert table.columns[-3:] == ("value", "d/d coalescence", "d/d migration")


def test_tables_show_rewards_by_name() -> None:
    by_title = {table.title: table for table in tables(named_results(2))}
    moments = by_title["Moments of the accumulated reward [reward^k]"]
    assert [row[2] for row in moments.rows[:2]] == ["length", "loss"]
    covariance = by_title["Covariance of rewards [reward^2]"]
    assert covariance.rows[1][2:4] == ("length", "loss")


def test_json_and_hdf5_hold_the_names(tmp_path: Path) -> None:
    found = named_results(2)
    facts = json.loads(to_json(found))
    names = {"parameter_names": ["coalescence", "migration"], "reward_names": ["length", "loss"]}
    assert facts.items() >= names.items()
    (tmp_path / "results.h5").write_bytes(to_hdf5(found))
    with h5py.File(tmp_path / "results.h5") as file:
        for kind, expected in names.items():
            assert file[kind].asstr()[()].tolist() == expected
    assert "parameter_names" not in json.loads(to_json(results_of(Request(n_moments=1))))


def test_columns_are_distinct_and_csv_keeps_every_digit_in_their_order() -> None:
    found = results_of(EVERYTHING, n_rewards=3)
    header, *rows = csv.reader(io.StringIO(to_csv(found)))
    assert len(set(header)) == len(header)
    flat = [found.values[quantity.name].reshape(len(THETA), -1) for quantity in found.quantities]
    np.testing.assert_array_equal(
        np.array(rows, dtype=np.float64), np.concatenate([THETA, *flat], axis=1)
    )


def test_json_and_hdf5_hold_the_same_arrays_with_axes_and_units(tmp_path: Path) -> None:
    found = results_of(EVERYTHING, n_rewards=3)
    facts = json.loads(to_json(found))
    (tmp_path / "results.h5").write_bytes(to_hdf5(found))
    with h5py.File(tmp_path / "results.h5") as file:
        assert set(file) == set(facts) - {"axes", "units"}
        for name, data in file.items():
            np.testing.assert_array_equal(data[()], facts[name], err_msg=name)
        for name, unit in facts["units"].items():
            assert file.attrs[f"{name}_unit"] == unit
    assert np.shape(facts["moments"]) == (3, 3, 2)
    assert facts["pdf_times"] == [0.0, 0.1]
    assert facts["quantile_probabilities"] == [0.05, 0.5]
    assert facts["units"]["moments_gradient"] == "reward^k/theta"
    assert facts["axes"]["pdf_gradient"] == ["row", "reward", "time", "theta"]
    for name, axes in facts["axes"].items():
        assert np.ndim(facts[name]) == len(axes)


def test_what_is_not_a_number_is_null_in_json() -> None:
    found = results_of(Request(covariance=True), n_rewards=2)
    found.values["correlation"][1, 0, 1] = np.nan
    assert json.loads(to_json(found))["correlation"][1][0][1] is None


def test_tables_hold_values_beside_their_gradient() -> None:
    found = results_of(Request(points={"pdf": (0.0, 0.1)}, gradient=True))
    (table,) = tables(found)
    assert table.title == "Density of the time to absorption [1/time]"
    assert table.columns == ("theta_1", "theta_2", "time", "value", "d/d theta_1", "d/d theta_2")
    value = f"{found.values['pdf'][0, 1]:.10g}"
    slopes = [f"{x:.10g}" for x in found.values["pdf_gradient"][0, 1]]
    assert table.rows[1] == ("1", "0.1", "0.1", value, *slopes)


def test_tables_of_many_parameters_and_rewards_go_down_the_page() -> None:
    """What does not fit the width of a page would be broken in the middle of numbers."""
    request = Request(n_moments=7, covariance=True, gradient=True)
    asked = quantities(request, n_parameters=8, n_rewards=7, has_rewards=True)
    rng = np.random.default_rng(1)
    theta = rng.uniform(size=(1, 8))
    found = Results(theta, asked, {q.name: rng.uniform(size=(1, *q.shape)) for q in asked})
    by_title = {table.title: table for table in tables(found)}
    moments = by_title["Moments of the accumulated reward [reward^k]"]
    assert moments.columns == ("row of theta", "reward", "moment", "value")
    assert len(moments.rows) == 49
    gradient = by_title["Gradient: Covariance of rewards [reward^2/theta]"]
    assert gradient.columns == ("row of theta", "reward_1", "reward_2", "theta", "value")


def test_long_tables_end_with_what_they_leave_out() -> None:
    found = results_of(Request(n_moments=1))
    many = Results(
        np.tile(THETA, (100, 1)),
        found.quantities,
        {"moments": np.tile(found.values["moments"], (100, 1))},
    )
    (table,) = tables(many)
    assert len(table.rows) == 200
    assert table.note is not None
    assert "100 more rows" in table.note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected moments, functions or covariances, got none"),
        ({"points": {"pdf": (-1.0,)}}, "expected times of at least 0, got -1.0"),
        ({"points": {"cdf": (float("inf"),)}}, "expected times of at least 0, got inf"),
        ({"points": {"quantile": (0.5, 1.0)}}, "expected probabilities between 0 and 1, got 1.0"),
        ({"points": {"hazards": (1.0,)}}, "expected points for one of"),
        ({"n_moments": 1, "method": "guess"}, "expected one of auto, uniformisation, inversion"),
        ({"covariance": True}, "expected several rewards for covariances, got one"),
    ],
)
def test_requests_for_what_does_not_exist_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        results_of(Request(**options))


def test_graphs_without_parameters_have_no_gradient() -> None:
    request = Request(n_moments=1, gradient=True)
    with pytest.raises(ConfigError, match="the graph has none"):
        quantities(request, n_parameters=0, n_rewards=None, has_rewards=False)
