"""Files of theta and rewards, and what is said of those that cannot be used."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from phasic_mpi import results
from phasic_mpi.errors import DamagedFileError, EvaluationError, StoreError
from phasic_mpi.input_files import load_rewards, load_theta

THETA = np.random.default_rng(1).uniform(size=(5, 2))


def write_hdf5(path: Path, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def write_results(path: Path) -> Path:
    path.write_bytes(results.to_hdf5(results.moment_results(THETA, THETA)))
    return path


def test_theta_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    np.save(tmp_path / "theta.npy", THETA)
    np.savetxt(tmp_path / "bare.csv", THETA, delimiter=",")
    np.savetxt(tmp_path / "named.csv", THETA, delimiter=",", header="theta_1,theta_2")
    write_hdf5(tmp_path / "theta.h5", theta=THETA)
    write_results(tmp_path / "results.h5")
    for name in ("theta.npy", "bare.csv", "named.csv", "theta.h5", "results.h5"):
        np.testing.assert_array_equal(load_theta(tmp_path / name, 2), THETA, err_msg=name)


def test_a_csv_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "theta.csv"
    path.write_bytes(b'\xef\xbb\xbf"rate, fast",slow\r\n"1",2e-3\r\n\r\n3,4\r\n')
    np.testing.assert_array_equal(load_theta(path, 2), [[1, 2e-3], [3, 4]])


NAMES = ("coalescence", "migration")


@pytest.mark.parametrize(
    ("header", "swapped"),
    [
        ("coalescence,migration", False),
        ("migration,coalescence", True),
        ("# migration , coalescence", True),
        ("theta_1,theta_2", False),
        ("theta_2,theta_1", True),
    ],
)
def test_names_decide_which_column_is_which_parameter(
    tmp_path: Path, header: str, swapped: bool
) -> None:
    path = tmp_path / "theta.csv"
    path.write_text(f"{header}\n1,2\n3,4\n")
    expected = [[2, 1], [4, 3]] if swapped else [[1, 2], [3, 4]]
    np.testing.assert_array_equal(load_theta(path, 2, NAMES), expected)


def test_columns_of_parameters_without_names_are_numbered_or_in_order(tmp_path: Path) -> None:
    path = tmp_path / "theta.csv"
    path.write_text("theta_2,theta_1\n1,2\n")
    np.testing.assert_array_equal(load_theta(path, 2), [[2, 1]])
    path.write_text("migration,coalescence\n1,2\n")
    np.testing.assert_array_equal(load_theta(path, 2), [[1, 2]])


@pytest.mark.parametrize("header", ["a,b", "coalescence,b", "coalescence,coalescence", "a"])
def test_names_of_other_parameters_are_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "theta.csv"
    path.write_text(f"{header}\n1,2\n")
    with pytest.raises(EvaluationError, match="columns named coalescence, migration in any order"):
        load_theta(path, 2, NAMES)


def test_names_in_a_file_of_results_decide_too(tmp_path: Path) -> None:
    found = results.moment_results(THETA, THETA, ("migration", "coalescence"))
    (tmp_path / "results.h5").write_bytes(results.to_hdf5(found))
    loaded = load_theta(tmp_path / "results.h5", 2, NAMES)
    np.testing.assert_array_equal(loaded, THETA[:, ::-1])
    with pytest.raises(EvaluationError, match="got 'migration', 'coalescence'"):
        load_theta(tmp_path / "results.h5", 2, ("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3\n", "line 2: expected one number for each parameter, 2 in all, got 1: 3"),
        ("1,2,3\n", "line 1: expected one number for each parameter, 2 in all, got 3: 1,2,3"),
        ("a,b\n1,2\n3,x\n", "line 3, column 2: expected a number, got 'x'"),
        ("1,b\n", "line 1, column 2: expected a number, got 'b'"),
        ("a,b\nc,d\n", "line 2, column 1: expected a number, got 'c'"),
        ("1,2\nnan,2\n", "line 2, column 1: expected a finite number, got 'nan'"),
        ("1 2\n3 4\n", "line 2: expected one number for each parameter, 2 in all, got 1: 3 4"),
        ("a,b\n", "expected at least one row of numbers, got none"),
        ("", "expected at least one row of numbers, got none"),
    ],
)
def test_a_csv_that_cannot_be_used_is_named_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "theta.csv"
    path.write_text(text)
    with pytest.raises(EvaluationError) as caught:
        load_theta(path, 2)
    assert str(path) in str(caught.value)
    assert caught.value.problem == message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "theta.csv"
    path.write_bytes(b"1,2\n\xff\xfe\n")
    with pytest.raises(EvaluationError, match="line 1: 'utf-8' codec can't decode"):
        load_theta(path, 2)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(2), r"expected theta of shape \(n_theta, 2\), got \(2,\)"),
        (np.ones((4, 3)), r"expected theta of shape \(n_theta, 2\), got \(4, 3\)"),
        (np.ones((0, 2)), "expected at least one row, got none"),
        (np.array([[1, 2], [3, np.inf]]), "row 1: expected finite numbers"),
        (np.array([["a", "b"]]), "expected an array of numbers, got one of <U1"),
    ],
)
def test_an_array_of_theta_that_cannot_be_used_is_refused(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "theta.npy", array)
    with pytest.raises(EvaluationError, match=message):
        load_theta(tmp_path / "theta.npy", 2)


def test_files_that_are_not_what_their_suffix_says_are_refused(tmp_path: Path) -> None:
    (tmp_path / "theta.npy").write_bytes(b"")
    with pytest.raises(EvaluationError, match=r"expected an array as numpy\.save writes it"):
        load_theta(tmp_path / "theta.npy", 2)
    (tmp_path / "theta.h5").write_bytes(b"1,2\n")
    with pytest.raises(StoreError, match="no HDF5 signature"):
        load_theta(tmp_path / "theta.h5", 2)
    write_hdf5(tmp_path / "other.h5", lambdas=THETA)
    with pytest.raises(EvaluationError, match="expected a dataset 'theta'"):
        load_theta(tmp_path / "other.h5", 2)


def test_results_that_are_damaged_are_refused(tmp_path: Path) -> None:
    path = write_results(tmp_path / "results.h5")
    image = bytearray(path.read_bytes())
    image[-1] ^= 1
    path.write_bytes(image)
    with pytest.raises(DamagedFileError, match="SHA-256"):
        load_theta(path, 2)


def test_rewards_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    for rewards in (np.arange(3.0), np.arange(6.0).reshape(2, 3)):
        np.save(tmp_path / "rewards.npy", rewards)
        np.savetxt(tmp_path / "rewards.txt", rewards)
        write_hdf5(tmp_path / "rewards.h5", rewards=rewards)
        for name in ("rewards.npy", "rewards.txt", "rewards.h5"):
            np.testing.assert_array_equal(load_rewards(tmp_path / name, 3), rewards, err_msg=name)


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (np.ones(2), r"expected shape \(3,\), got \(2,\)"),
        (np.ones((4, 2)), r"expected shape \(3,\), got \(2,\)"),
        (np.ones((2, 2, 3)), r"expected shape \(3,\), got \(2, 2, 3\)"),
        (np.ones((0, 3)), "expected at least one reward, got none"),
        (np.array([[1, 1, 1], [1, np.nan, 1]]), "expected finite rewards, got nan at vertex 1"),
    ],
)
def test_rewards_that_do_not_fit_are_refused(
    tmp_path: Path, rewards: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "rewards.npy", rewards)
    with pytest.raises(EvaluationError, match=message):
        load_rewards(tmp_path / "rewards.npy", 3)
