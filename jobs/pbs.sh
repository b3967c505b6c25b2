#!/usr/bin/env bash
# Records a trace under PBS Pro. Submit with: qsub jobs/pbs.sh
#PBS -N phasic
#PBS -l select=2:ncpus=32:mpiprocs=8:ompthreads=4
#PBS -l place=scatter:excl
#PBS -l walltime=02:00:00
#PBS -r y
#PBS -j oe
set -euo pipefail

# Edit these three lines; modules that the environment needs are loaded below them.
graph="graph.h5"
trace="trace.h5"
environment="$HOME/phasic"

# Environment and caches lie on the disk of each node while the job runs; what is recorded is copied
# to the shared cache at the end, so the job can go on on other nodes.
shared="$PBS_O_WORKDIR/phasic-cache"
archive="$shared/environment-$PBS_JOBID.tar"
scratch="${TMPDIR:-/tmp}/phasic-$PBS_JOBID"
python="$scratch/environment/bin/python"
mapfile -t nodes < <(sort -u "$PBS_NODEFILE")

# pbs_tmrsh starts a program with little in its environment, and reports how it ended.
on_each_node() {
  local node task failed=0 tasks=()
  for node in "${nodes[@]}"; do
    pbs_tmrsh "$node" /usr/bin/env "PATH=$PATH" "LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}" "$@" &
    tasks+=("$!")
  done
  for task in "${tasks[@]}"; do wait "$task" || failed=1; done
  return "$failed"
}

# Scratch of an earlier attempt on the same node is used again, that of somebody else is refused.
# shellcheck disable=SC2016  # the shell that runs this has the arguments
stage='
  [ -d "$1" ] || mkdir -m 700 "$1"
  if [ -L "$1" ] || [ ! -O "$1" ]; then echo "$1 belongs to somebody else" >&2; exit 1; fi
  rm -rf "$1/environment"
  mkdir "$1/environment"
  tar -C "$1/environment" -xf "$2"
  "$1/environment/bin/python" -m phasic_mpi cache copy "$3" "$1/cache"'

# PBS sends SIGTERM to all processes when it ends or requeues a job by itself. This shell then still
# copies the caches, in the seconds that are left, and submits nothing.
ended_by_pbs=""
trap 'ended_by_pbs=yes' TERM

cd "$PBS_O_WORKDIR"
(umask 077 && mkdir -p "$shared")
tar -C "$environment" -cf "$archive" .
on_each_node bash -euc "$stage" stage "$scratch" "$archive" "$shared"

# PBS warns nobody before the limit: two minutes before it, 'timeout' sends the warning.
walltime="$(qstat -f "$PBS_JOBID" | sed -n 's/.*Resource_List\.walltime = //p')"
IFS=: read -r hours minutes seconds <<<"$walltime"
left=$((10#$hours * 3600 + 10#$minutes * 60 + 10#$seconds - SECONDS - 120))

# With MPICH. Intel MPI: I_MPI_PIN_DOMAIN="$NPROC" instead of -bind-to. Open MPI, which reads the
# hosts from PBS: mpirun -n "$ranks" --map-by "slot:PE=$NPROC" --bind-to core
export NPROC="$OMP_NUM_THREADS"
ranks="$(wc -l <"$PBS_NODEFILE")"
status=0
timeout --preserve-status --signal=USR1 "$left" \
  mpirun -n "$ranks" -f "$PBS_NODEFILE" -bind-to "core:$NPROC" \
  "$python" -m phasic_mpi run "$graph" -o "$trace" --cache "$scratch/cache" \
  --report "$trace.json" </dev/null || status=$?

if ! on_each_node "$python" -m phasic_mpi cache copy "$scratch/cache" "$shared"; then
  echo "Not all caches could be copied to $shared; $scratch is left on the nodes" >&2
  exit 1
fi
on_each_node rm -rf "$scratch" || echo "$scratch could not be removed on all nodes" >&2
rm -f "$archive"
# Only operators may requeue a job, so this script, which PBS has kept a copy of, is submitted again.
if [ "$status" -eq 75 ] && [ -z "$ended_by_pbs" ]; then
  qsub "$0"
fi
exit "$status"
