#!/usr/bin/env bash
# Records a trace under SLURM. Submit with: sbatch jobs/slurm.sh
#SBATCH --job-name=phasic
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --time=02:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

# Edit these three lines; modules that the environment needs are loaded below them.
graph="graph.h5"
trace="trace.h5"
environment="$HOME/phasic"

# Environment and caches lie on the disk of each node while the job runs; what is recorded is copied
# to the shared cache at the end, so the job can go on on other nodes.
shared="$SLURM_SUBMIT_DIR/phasic-cache"
archive="$shared/environment-$SLURM_JOB_ID.tar"
scratch="${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/phasic-$SLURM_JOB_ID"
python="$scratch/environment/bin/python"

# SLURM sends the signal that --signal asks for to every step. It is meant for the ranks: staging and
# copying must not end by it.
on_each_node() {
  srun --mpi=none --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
    --ntasks-per-node=1 bash -c 'trap "" USR1; exec "$@"' step "$@"
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

cd "$SLURM_SUBMIT_DIR"
(umask 077 && mkdir -p "$shared")
tar -C "$environment" -cf "$archive" .
on_each_node bash -euc "$stage" stage "$scratch" "$archive" "$shared"

# A rank that dies must not leave the others waiting until the time limit: --wait ends them.
export NPROC="$SLURM_CPUS_PER_TASK"
status=0
srun --cpu-bind=cores --cpus-per-task="$NPROC" --wait=60 \
  "$python" -m phasic_mpi run "$graph" -o "$trace" --cache "$scratch/cache" \
  --report "$trace.json" || status=$?

if ! on_each_node "$python" -m phasic_mpi cache copy "$scratch/cache" "$shared"; then
  echo "Not all caches could be copied to $shared; $scratch is left on the nodes" >&2
  exit 1
fi
on_each_node rm -rf "$scratch" || echo "$scratch could not be removed on all nodes" >&2
rm -f "$archive"
if [ "$status" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
