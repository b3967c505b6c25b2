"""Names: which are legal, how they are looked up, and states as texts."""

import numpy as np
import pytest

from phasic_mpi.errors import EvaluationError, GraphError
from phasic_mpi.names import (
    check_rewards,
    checked_names,
    decode_names,
    describe_state,
    describe_vertex,
    encode_names,
    listed,
    reward_by_name,
    theta_labels,
)


def test_names_are_identifiers_of_ascii() -> None:
    names = ["a", "_", "Migration_1_2", "x" * 64]
    assert checked_names("names", names, 4) == tuple(names)
    assert checked_names("names", [], 4) == ()


@pytest.mark.parametrize(
    "name", ["", "1a", "a b", "a-b", "a,b", "a=b", "a.b", "é", "a\n", "a\x00", "x" * 65, 3, None]
)
def test_other_names_are_refused_with_their_place_and_the_reason(name: object) -> None:
    with pytest.raises(GraphError, match="field 'names': entry 1: expected a letter") as caught:
        checked_names("names", ["a", name])  # type: ignore[list-item]
    assert "typed as NAME=VALUE and head a column of a CSV file" in caught.value.resolution
    assert len(str(caught.value)) < 400


def test_another_number_of_names_or_one_twice_is_refused() -> None:
    with pytest.raises(GraphError, match="expected 3 names or none, got 2: a, b"):
        checked_names("names", ["a", "b"], 3)
    with pytest.raises(GraphError, match="expected each name once, got b more than once"):
        checked_names("names", ["a", "b", "c", "b"])


def test_long_lists_are_cut_short() -> None:
    assert listed(("a", "b")) == "a, b"
    assert listed(tuple("abcdefghijkl")) == "a, b, c, d, e, f, g, h, i, j and 2 more"


def test_rewards_fit_their_names() -> None:
    check_rewards(("a", "b"), np.array([[0.0, -1.0], [2.0, 3.0]]), 2)
    with pytest.raises(GraphError, match=r"expected float64 of shape \(1, 2\), a row for each"):
        check_rewards(("a",), np.zeros((2, 2)), 2)
    with pytest.raises(GraphError, match=r"field 'rewards.b': expected finite .* inf at vertex 1"):
        check_rewards(("a", "b"), np.array([[0.0, 0.0], [0.0, np.inf]]), 2)


def test_a_reward_is_found_by_its_name() -> None:
    rewards = np.arange(6.0).reshape(2, 3)
    assert reward_by_name("b", ("a", "b"), rewards).tolist() == [3, 4, 5]
    with pytest.raises(EvaluationError, match="expected one of a, b, got 'c'"):
        reward_by_name("c", ("a", "b"), rewards)
    with pytest.raises(EvaluationError, match="expected no name, there are none, got 'c'"):
        reward_by_name("c", (), rewards[:0])


def test_states_are_described_with_their_names_or_without() -> None:
    states = np.array([[0, 0], [2, -1]], dtype=np.int32)
    assert describe_state(states[1]) == "(2, -1)"
    assert describe_state((2, 0), ("island_1", "island_2")) == "(island_1=2, island_2=0)"
    assert describe_state(()) == "()"
    assert describe_vertex(1, states, ("a", "b")) == "vertex 1 (a=2, b=-1)"
    assert describe_vertex(1, states) == "vertex 1 (2, -1)"
    assert describe_vertex(1, states[:, :0]) == "vertex 1"


def test_parameters_without_names_are_numbered() -> None:
    assert theta_labels(("a", "b"), 2) == ("a", "b")
    assert theta_labels((), 2) == ("theta_1", "theta_2")


def test_names_survive_their_dataset() -> None:
    for names in ((), ("a", "x" * 64)):
        assert encode_names(names).dtype == "S64"
        assert decode_names(encode_names(names)) == names
    assert decode_names(None) == ()
    with pytest.raises(GraphError, match="expected byte strings in one dimension, got int64"):
        decode_names(np.arange(3))
