"""What is drawn, read from the SVG; and that equal plots are equal files."""

from pathlib import Path

import numpy as np
import pytest

from phasic_mpi import plot
from phasic_mpi.errors import ConfigError


def density(label: str, scale: float) -> plot.Density:
    """An exponential distribution."""
    points = np.linspace(0.01, 5, 100)
    values = np.exp(-points / scale) / scale
    return plot.Density(label, points, values, scale, [(0.5, scale * np.log(2))])


def draw(path: Path) -> str:
    densities = [density("theta = 1", 1.0), density("theta = 2", 0.5)]
    plot.save_densities(path, densities, unit="time", what="time to absorption")
    return path.read_text()


def test_densities_have_labelled_axes_with_units_and_a_legend(tmp_path: Path) -> None:
    drawn = draw(tmp_path / "plot.svg")
    texts = ("time to absorption [time]", "density [1/time]", "theta = 2", "mean", "50 %")
    for text in texts:
        assert f"<!-- {text} -->" in drawn


def test_means_have_labelled_axes_with_units_and_a_legend(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    plot.save_means(path, np.array([[2.0, 1.0], [4.0, 2.0]]), ["a", "b"], unit="reward")
    drawn = path.read_text()
    for text in ("expected reward [reward]", "reward (row of the file of rewards)", "a", "b"):
        assert f"<!-- {text} -->" in drawn


def test_equal_plots_are_equal_files(tmp_path: Path) -> None:
    assert draw(tmp_path / "a.svg") == draw(tmp_path / "b.svg")


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.png or \.svg, got 'plot\.pdf'"):
        plot.require_plot(tmp_path / "plot.pdf")
