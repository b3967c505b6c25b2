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

# Edit these three lines; load the modules of the environment before sbatch, or here.
graph="graph.h5"
trace="trace.h5"
environment="$HOME/phasic"

# Caches and environment lie on the disk of each node while the job runs; what is recorded is copied
# to the shared cache at the end, so the job can be requeued on other nodes.
shared="$SLURM_SUBMIT_DIR/phasic-cache"
scratch="${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/phasic-$SLURM_JOB_ID"
python="$scratch/environment/bin/python"

# The warning signal goes to every step: it must not end these.
on_each_node() {
  srun --mpi=none --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
    --ntasks-per-node=1 bash -c 'trap "" USR1; exec "$@"' stage "$@"
}

cd "$SLURM_SUBMIT_DIR"
(umask 077 && mkdir -p "$shared")
tar -C "$environment" -cf "$shared/environment.tar" .
on_each_node mkdir -p "$scratch/environment"
on_each_node tar -C "$scratch/environment" -xf "$shared/environment.tar"
on_each_node "$python" -m phasic_mpi cache copy "$shared" "$scratch/cache"

export NPROC="$SLURM_CPUS_PER_TASK"
status=0
srun --cpu-bind=cores --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  "$python" -m phasic_mpi run "$graph" -o "$trace" --cache "$scratch/cache" \
  --report "$trace.json" || status=$?

on_each_node "$python" -m phasic_mpi cache copy "$scratch/cache" "$shared"
on_each_node rm -rf "$scratch"
if [ "$status" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
