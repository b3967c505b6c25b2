#!/usr/bin/env bash
# Records a trace under LSF. Submit with: bsub < jobs/lsf.sh
#BSUB -J phasic
#BSUB -n 16
#BSUB -R "span[ptile=8]"
#BSUB -R "affinity[core(4)]"
#BSUB -W 02:00
#BSUB -wa USR1
#BSUB -wt 2
#BSUB -r
#BSUB -Q "75"
#BSUB -o phasic-%J.log
set -euo pipefail

# Edit these three lines; load the modules of the environment here.
graph="graph.h5"
trace="trace.h5"
environment="$HOME/phasic"

# Caches and environment lie on the disk of each host while the job runs; what is recorded is copied
# to the shared cache at the end, so the job can be requeued on other hosts.
shared="$LS_SUBCWD/phasic-cache"
scratch="${TMPDIR:-/tmp}/phasic-$LSB_JOBID"
python="$scratch/environment/bin/python"
hosts="$(sort -u "$LSB_DJOB_HOSTFILE" | tr '\n' ' ')"

on_each_host() {
  blaunch -z "$hosts" "$@"
}

# The warning signal goes to the whole job: the ranks act on it, this shell waits for them.
trap : USR1

cd "$LS_SUBCWD"
(umask 077 && mkdir -p "$shared")
tar -C "$environment" -cf "$shared/environment.tar" .
on_each_host mkdir -p "$scratch/environment"
on_each_host tar -C "$scratch/environment" -xf "$shared/environment.tar"
on_each_host "$python" -m phasic_mpi cache copy "$shared" "$scratch/cache"

# LSF binds each rank to the four cores asked for above, and the rank reads that from its mask.
status=0
mpirun -n "$LSB_DJOB_NUMPROC" \
  "$python" -m phasic_mpi run "$graph" -o "$trace" --cache "$scratch/cache" \
  --report "$trace.json" || status=$?

on_each_host "$python" -m phasic_mpi cache copy "$scratch/cache" "$shared"
on_each_host rm -rf "$scratch"
# Status 75 makes LSF requeue the job: see -Q above.
exit "$status"
