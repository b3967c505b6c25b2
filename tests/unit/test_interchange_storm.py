"""Models go from Storm to us and back: its expected times and rewards are ours.

Storm solves exactly, in rational numbers, where it can.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stormpy

from phasic_mpi.evaluate import moments
from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.interchange import load_drn, save_drn
from phasic_mpi.models import build_model
from tests.recording import record_alone

# Two machines and two spare parts; a flag that is seen before anything breaks for good.
REPAIR = """
ctmc
const double wear;
const double repair;
module machines
  up : [0..2] init 2;
  spares : [0..2] init 2;
  warned : bool init false;
  <> up > 0 -> up * wear : (up' = up - 1);
  <> up < 2 & spares > 0 -> repair : (up' = up + 1);
  <> spares > 0 -> 0.25 + wear / 3 : (spares' = spares - 1);
  <> up < 2 & !warned -> 2 * repair : (warned' = true);
endmodule
label "down" = up = 0 & warned;
rewards "work" true : up; endrewards
rewards "cost" warned : 2.5; spares = 0 : 1; endrewards
"""
WEAR, REPAIR_RATE = 0.3, 1.7
QUESTIONS = 'T=? [F "down"]; R{"work"}=? [F "down"]; R{"cost"}=? [F "down"]'


@pytest.fixture
def program(tmp_path: Path) -> Any:
    path = tmp_path / "repair.sm"
    path.write_text(REPAIR)
    return stormpy.parse_prism_program(path)


def options() -> Any:
    """Everything that Storm can say about a model goes into it."""
    asked = stormpy.BuilderOptions()
    asked.set_build_all_labels()
    asked.set_build_all_reward_models()
    asked.set_build_state_valuations()
    return asked


def answers(model: Any, questions: str) -> list[Any]:
    """Storm's answers in the initial state."""
    (initial,) = model.initial_states
    return [
        stormpy.model_checking(model, question).get_value(initial)
        for question in stormpy.parse_properties(questions)
    ]


def means(graph: PhaseTypeGraph, theta: Any = ()) -> list[float]:
    """Our expected time, work and cost."""
    trace = record_alone(graph)
    return [float(moments(trace, theta, 1, reward)[0, 0]) for reward in (None, "work", "cost")]


def exact_model(program: Any) -> Any:
    constants = f"wear={WEAR},repair={REPAIR_RATE}"
    described, _ = stormpy.instantiate_constants(program, constants)
    return stormpy.build_model[stormpy.Rational](described, options=options())


@pytest.mark.parametrize("number", [float, stormpy.Rational])
def test_a_model_of_storm_has_its_expected_time_and_rewards_here(
    program: Any, number: type, tmp_path: Path
) -> None:
    described, _ = stormpy.instantiate_constants(program, f"wear={WEAR},repair={REPAIR_RATE}")
    model = stormpy.build_model[number](described, options=options())
    precise = stormpy.io.DirectEncodingExporterOptions()
    precise.output_precision = 17
    stormpy.io.export_to_drn(model, tmp_path / "model.drn", options=precise)
    graph = load_drn(tmp_path / "model.drn", absorbing="down")
    assert set(graph.state_names) == {"up", "spares", "warned"}
    assert set(graph.reward_names) == {"work", "cost"}
    storm = [float(value) for value in answers(exact_model(program), QUESTIONS)]
    np.testing.assert_allclose(means(graph), storm, rtol=1e-12)


@pytest.mark.parametrize("placeholders", [True, False])
def test_a_parametric_model_of_storm_keeps_its_parameters(
    program: Any, placeholders: bool, tmp_path: Path
) -> None:
    model = stormpy.build_model[stormpy.RationalFunction](program, options=options())
    chosen = stormpy.io.DirectEncodingExporterOptions()
    chosen.allow_placeholders = placeholders
    stormpy.io.export_to_drn(model, tmp_path / "model.drn", options=chosen)
    graph = load_drn(tmp_path / "model.drn", absorbing="down")
    storm = [float(value) for value in answers(exact_model(program), QUESTIONS)]
    theta = {"wear": WEAR, "repair": REPAIR_RATE}
    np.testing.assert_allclose(means(graph, theta), storm, rtol=1e-12)


def test_values_of_variables_come_with_the_states(program: Any, tmp_path: Path) -> None:
    model = exact_model(program)
    stormpy.io.export_to_drn(model, tmp_path / "model.drn")
    graph = load_drn(tmp_path / "model.drn", absorbing="down")
    order = [graph.state_names.index(name) for name in ("up", "spares", "warned")]
    states = graph.states[:, order]
    assert len(np.unique(states[1:], axis=0)) == model.nr_states
    np.testing.assert_array_equal(states[1], [2, 2, 0])
    np.testing.assert_array_equal(graph.reward("work")[1:], states[1:, 0])
    cost = 2.5 * states[1:, 2] + (states[1:, 1] == 0)
    stuck = (states[1:] == [0, 0, 1]).all(axis=1)  # Storm gives its deadlocks no rewards
    np.testing.assert_array_equal(graph.reward("cost")[1:], np.where(stuck, 0, cost))


@pytest.mark.parametrize(
    ("name", "settings", "theta"),
    [
        ("structured-coalescent", {"n": 5, "islands": 2}, [1.0, 0.4]),
        ("tandem-queue", {"capacity": 4}, [0.9, 1.0, 1.1]),
    ],
)
def test_storm_finds_our_expected_time_of_a_bundled_model(
    name: str, settings: dict[str, int], theta: list[float], tmp_path: Path
) -> None:
    graph = build_model(name, **settings)
    path = save_drn(graph, tmp_path / "model.drn", theta=theta)
    model = stormpy.build_model_from_drn[stormpy.Rational](path)
    (storm,) = answers(model, 'T=? [F "absorbing"]')
    ours = moments(record_alone(graph), theta, 1)[0, 0]
    np.testing.assert_allclose(float(storm), ours, rtol=1e-12)


def test_storm_reads_our_parameters_and_rewards(tmp_path: Path) -> None:
    graph = PhaseTypeGraph.from_arrays(
        n_vertices=4,
        states=[[0], [1], [2], [3]],
        edge_source=[1],
        edge_target=[3],
        edge_weight=[1e-7],
        param_source=[1, 1, 2, 2],
        param_target=[2, 2, 1, 3],
        param_coefficient=[[1, 0], [0, 0.3], [0, 2.5], [1 / 3, 0]],
        start_target=[1],
        start_weight=[1.0],
        parameter_names=["x", "y"],
        rewards={"work": [0, 1, 0.1, 0], "cost": [0, 0, 2, 0]},
    )
    path = save_drn(graph, tmp_path / "model.drn")
    model = stormpy.build_model_from_drn[stormpy.RationalFunction](path)
    questions = 'T=? [F "absorbing"]; R{"work"}=? [F "absorbing"]; R{"cost"}=? [F "absorbing"]'
    point = {"x": 0.7, "y": 0.2}
    save_drn(graph, tmp_path / "at.drn", theta=point)
    at_point = stormpy.build_model_from_drn[stormpy.Rational](tmp_path / "at.drn")
    storm = [float(value) for value in answers(at_point, questions)]
    np.testing.assert_allclose(storm, means(graph, point), rtol=1e-12)
    formula = answers(model, questions)[0]
    variables = {variable.name: variable for variable in formula.gather_variables()}
    assert set(variables) == {"x", "y"}
    value = formula.evaluate(
        {
            variables[name]: stormpy.RationalFunctionCoefficient(str(number))
            for name, number in point.items()
        }
    )
    np.testing.assert_allclose(float(value), storm[0], rtol=1e-12)
