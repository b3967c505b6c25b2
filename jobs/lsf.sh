#!/usr/bin/env bash
# Records a trace under LSF. Submit with: bsub < jobs/lsf.sh
#BSUB -J phasic
#BSUB -n 64
#BSUB -R "span[ptile=32]"
#BSUB -x
#BSUB -W 02:00
#BSUB -wa USR1
#BSUB -wt 2
#BSUB -r
#BSUB -Q "75"
#BSUB -o phasic-%J.log
set -euo pipefail

# Edit these three lines; modules that the environment needs are loaded below them.
graph="graph.h5"
trace="trace.h5"
environment="$HOME/phasic"

# Threads per rank: each rank takes that many of the slots above.
export NPROC=4

# Environment and caches lie on the disk of each host while the job runs; what is recorded is copied
# to the shared cache at the end, so the job can go on on other hosts. They do not lie in TMPDIR:
# LSF may empty that on a host when the first task it started there has ended.
shared="$LS_SUBCWD/phasic-cache"
archive="$shared/environment-$LSB_JOBID.tar"
scratch="/tmp/phasic-$LSB_JOBID"
python="$scratch/environment/bin/python"
mapfile -t hosts < <(sort -u "$LSB_DJOB_HOSTFILE")

# The warning signal goes to the whole job. It is meant for the ranks: this shell waits for them, and
# staging and copying must not end by it.
trap : USR1
on_each_host() (
  trap "" USR1
  failed=0
  tasks=()
  for host in "${hosts[@]}"; do
    blaunch -no-shell "$host" /bin/bash -c 'trap "" USR1; exec "$@"' task "$@" &
    tasks+=("$!")
  done
  for task in "${tasks[@]}"; do wait "$task" || failed=1; done
  exit "$failed"
)

# Scratch of an earlier attempt on the same host is used again, that of somebody else is refused.
# shellcheck disable=SC2016  # the shell that runs this has the arguments
stage='
  [ -d "$1" ] || mkdir -m 700 "$1"
  if [ -L "$1" ] || [ ! -O "$1" ]; then echo "$1 belongs to somebody else" >&2; exit 1; fi
  rm -rf "$1/environment"
  mkdir "$1/environment"
  tar -C "$1/environment" -xf "$2"
  "$1/environment/bin/python" -m phasic_mpi cache copy "$3" "$1/cache"'

cd "$LS_SUBCWD"
(umask 077 && mkdir -p "$shared")
tar -C "$environment" -cf "$archive" .
on_each_host bash -euc "$stage" stage "$scratch" "$archive" "$shared"

# With MPICH. Intel MPI: I_MPI_PIN_DOMAIN="$NPROC" instead of -bind-to. Open MPI:
# mpirun -n "$ranks" --map-by "ppr:$per_host:node:PE=$NPROC" --bind-to core
ranks=$((LSB_DJOB_NUMPROC / NPROC))
per_host=$((ranks / ${#hosts[@]}))
status=0
mpirun -n "$ranks" -ppn "$per_host" -bind-to "core:$NPROC" \
  "$python" -m phasic_mpi run "$graph" -o "$trace" --cache "$scratch/cache" \
  --report "$trace.json" </dev/null || status=$?

if ! on_each_host "$python" -m phasic_mpi cache copy "$scratch/cache" "$shared"; then
  echo "Not all caches could be copied to $shared; $scratch is left on the hosts" >&2
  exit 1
fi
on_each_host rm -rf "$scratch" || echo "$scratch could not be removed on all hosts" >&2
rm -f "$archive"
# LSF requeues the job for status 75: see -Q above.
exit "$status"
