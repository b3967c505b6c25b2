"""Recording in one process, without ranks or caches, for tests of what comes after."""

from phasic_mpi.graph import PhaseTypeGraph
from phasic_mpi.record import Recorder
from phasic_mpi.scc import condense
from phasic_mpi.stitch import stitch
from phasic_mpi.trace import EliminationTrace


def record_alone(graph: PhaseTypeGraph) -> EliminationTrace:
    """Splits, records and stitches ``graph``."""
    condensation = condense(graph)
    traces = Recorder(strategy="sequential", n_threads=1).record(condensation.distinct)
    return stitch(graph, condensation, {trace.key: trace for trace in traces})
