#!/usr/bin/env bash
# Records a trace under PBS Pro. Submit with: qsub jobs/pbs.sh
#PBS -N phasic
#PBS -l select=2:ncpus=32:mpiprocs=8:ompthreads=4
#PBS -l place=scatter:excl
#PBS -l walltime=02:00:00
#PBS -r y
#PBS -j oe
set -euo pipefail

# Edit these three lines; load the modules of the environment here.
graph="graph.h5"
trace="trace.h5"
environment="$HOME/phasic"

# PBS warns nobody before the limit: this many seconds after the start the run is asked to stop.
# Keep it two minutes below the walltime above.
seconds=7080
script="jobs/pbs.sh"

# Caches and environment lie on the disk of each node while the job runs; what is recorded is copied
# to the shared cache at the end, so the job can go on on other nodes.
shared="$PBS_O_WORKDIR/phasic-cache"
scratch="${TMPDIR:-/tmp}/phasic-$PBS_JOBID"
python="$scratch/environment/bin/python"

# pbsdsh starts programs with an empty environment: all paths are absolute.
on_each_node() {
  pbsdsh -u -- "$@"
}

cd "$PBS_O_WORKDIR"
(umask 077 && mkdir -p "$shared")
tar -C "$environment" -cf "$shared/environment.tar" .
on_each_node /bin/mkdir -p "$scratch/environment"
on_each_node /bin/tar -C "$scratch/environment" -xf "$shared/environment.tar"
on_each_node "$python" -m phasic_mpi cache copy "$shared" "$scratch/cache"

# With MPICH or Intel MPI. With Open MPI: mpirun --map-by "slot:PE=$NPROC" --bind-to core
export NPROC="$OMP_NUM_THREADS"
ranks="$(wc -l <"$PBS_NODEFILE")"
status=0
timeout --preserve-status --signal=USR1 "$seconds" \
  mpirun -n "$ranks" -f "$PBS_NODEFILE" -bind-to "core:$NPROC" \
  "$python" -m phasic_mpi run "$graph" -o "$trace" --cache "$scratch/cache" \
  --report "$trace.json" || status=$?

on_each_node "$python" -m phasic_mpi cache copy "$scratch/cache" "$shared"
on_each_node /bin/rm -rf "$scratch"
if [ "$status" -eq 75 ]; then
  qsub "$script"
fi
exit "$status"
