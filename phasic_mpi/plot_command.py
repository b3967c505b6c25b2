"""The command ``plot``: a graph or trace file as a picture."""

from __future__ import annotations

import argparse

from phasic_mpi import config, files, log
from phasic_mpi.display import size
from phasic_mpi.pictures import drawing, figures, graphviz
from phasic_mpi.theta import theta_rows


def plot(options: argparse.Namespace) -> int:
    """Draws a file; see :func:`phasic_mpi.pictures.drawing.draw`."""
    config.require_one_process("plot")
    files.require_writable(options.output)
    figures.require_picture(options.output)
    graphviz.load_graphviz()
    subject = drawing.Subject(options.file)
    theta = None
    if options.theta is not None:
        structure = subject.structure
        (theta,) = theta_rows(options.theta, structure.n_parameters, structure.parameter_names)
    drawing.draw(subject, options.output, kind=options.kind, theta=theta)
    n_bytes = options.output.stat().st_size
    log.get_logger().info("%s: %s", options.output, size(n_bytes))
    return 0
