"""What is drawn, read from the SVG; and that equal plots are equal files."""

from pathlib import Path

import numpy as np
import pytest

from phasic_mpi.errors import ConfigError
from phasic_mpi.pictures import densities, figures


def density(label: str, scale: float) -> densities.Density:
    """An exponential distribution."""
    points = np.linspace(0.01, 5, 100)
    values = np.exp(-points / scale) / scale
    return densities.Density(label, points, values, scale, [(0.5, scale * np.log(2))])


def draw(path: Path) -> str:
    curves = [density("theta = 1", 1.0), density("theta = 2", 0.5)]
    densities.save_densities(path, curves, unit="time", what="time to absorption")
    return path.read_text()


def test_densities_have_labelled_axes_with_units_and_a_legend(tmp_path: Path) -> None:
    drawn = draw(tmp_path / "plot.svg")
    texts = ("time to absorption [time]", "density [1/time]", "theta = 2", "mean", "50 %")
    for text in texts:
        assert f"<!-- {text} -->" in drawn


def test_means_have_labelled_axes_with_units_and_a_legend(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    densities.save_means(path, np.array([[2.0, 1.0], [4.0, 2.0]]), ["a", "b"], unit="reward")
    drawn = path.read_text()
    for text in ("expected reward [reward]", "reward (row of the file of rewards)", "a", "b"):
        assert f"<!-- {text} -->" in drawn


def test_means_of_rewards_with_names_show_them(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    names = ["singletons", "doubletons"]
    densities.save_means(path, np.array([[2.0, 1.0]]), ["a"], unit="reward", reward_names=names)
    drawn = path.read_text()
    for text in (*names, "reward"):
        assert f"<!-- {text} -->" in drawn


@pytest.mark.parametrize("suffix", figures.SUFFIXES)
def test_equal_plots_are_equal_files(tmp_path: Path, suffix: str) -> None:
    curves = [density("theta = 1", 1.0)]
    for name in ("a", "b"):
        densities.save_densities(tmp_path / f"{name}{suffix}", curves, unit="time", what="time")
    images = [(tmp_path / f"{name}{suffix}").read_bytes() for name in ("a", "b")]
    assert images[0] == images[1]


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.png, \.svg or \.pdf, got 'plot\.jpg'"):
        figures.require_picture(tmp_path / "plot.jpg")
