"""Batch scripts: directives, shell, and each run from end to end with a stub scheduler."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from tests.launch import ROOT, clean_environment, mpirun, phasic_mpi

JOBS = ROOT / "jobs"
SCRIPTS = sorted(path.name for path in JOBS.glob("*.sh"))
EDITED = ("graph", "trace", "environment")

# Long options of sbatch, from its manual page; those that scripts here may come to use.
SBATCH_OPTIONS = {
    *("account", "array", "begin", "chdir", "constraint", "cpus-per-task", "dependency", "error"),
    *("exclusive", "gres", "job-name", "mail-type", "mail-user", "mem", "mem-per-cpu", "nodes"),
    *("ntasks", "ntasks-per-node", "open-mode", "output", "partition", "qos", "requeue"),
    *("signal", "time", "tmp"),
}

TIME = re.compile(r"(\d+-)?\d{1,2}:\d{2}:\d{2}")


def directives(script: str, sentinel: str) -> list[str]:
    text = (JOBS / script).read_text()
    return re.findall(rf"(?m)^#{sentinel} (.*)$", text)


def test_there_is_a_script_for_each_scheduler() -> None:
    assert SCRIPTS == ["lsf.sh", "pbs.sh", "slurm.sh"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_can_read_the_script(script: str) -> None:
    done = subprocess.run(
        ["bash", "-n", JOBS / script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_there_are_three_lines_to_edit(script: str) -> None:
    text = (JOBS / script).read_text()
    (edited,) = re.findall(r"(?s)# Edit these three lines[^\n]*\n(.*?)\n\n", text)
    assert [line.split("=")[0] for line in edited.splitlines()] == list(EDITED)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_use_options_that_the_program_has(script: str) -> None:
    text = (JOBS / script).read_text().replace("\\\n", " ")
    (command,) = re.findall(r"-m phasic_mpi run (.*?) \|\|", text)
    known = phasic_mpi("run", "--help").stdout
    used = re.findall(r"(?<!\S)(-o|--[a-z-]+)", command)
    assert "--cache" in used
    assert all(option in known for option in used)


def test_slurm_directives_are_options_of_sbatch_with_legal_values() -> None:
    options = {}
    for line in directives("slurm.sh", "SBATCH"):
        name, _, value = line.removeprefix("--").partition("=")
        assert line.startswith("--")
        options[name] = value
    assert set(options) <= SBATCH_OPTIONS
    for name in ("nodes", "ntasks-per-node", "cpus-per-task"):
        assert int(options[name]) > 0
    assert TIME.fullmatch(options["time"])
    # Without "B:" the signal goes to the ranks and not to the script alone.
    assert re.fullmatch(r"USR1@\d+", options["signal"])
    assert options["requeue"] == ""
    assert options["open-mode"] == "append", "a requeued job must not overwrite its log"


def test_pbs_asks_for_what_it_uses() -> None:
    lines = directives("pbs.sh", "PBS")
    assert all(re.match(r"-[Nlrj] \S", line) for line in lines)
    (chunk,) = [line for line in lines if line.startswith("-l select=")]
    numbers = dict(part.split("=") for part in chunk.removeprefix("-l ").split(":")[1:])
    assert int(numbers["ncpus"]) == int(numbers["mpiprocs"]) * int(numbers["ompthreads"])
    (walltime,) = [line.split("=")[1] for line in lines if line.startswith("-l walltime=")]
    assert TIME.fullmatch(walltime)
    hours, minutes, seconds = map(int, walltime.split(":"))
    (stop,) = re.findall(r"(?m)^seconds=(\d+)$", (JOBS / "pbs.sh").read_text())
    assert 3600 * hours + 60 * minutes + seconds - int(stop) == 120


def test_lsf_requeues_what_was_stopped() -> None:
    lines = directives("lsf.sh", "BSUB")
    assert all(re.match(r"-(J|n|R|W|wa|wt|r|Q|o)\b", line) for line in lines)
    assert '-Q "75"' in lines
    assert "-wa USR1" in lines


# The real launcher would take the job's variables for a cluster to start ranks on.
REAL_MPIRUN = """\
for name in $(compgen -e | grep -E '^(SLURM|PBS|LSB|LS)_'); do unset "$name"; done
exec "$MPIRUN" -n 2 "$@"
"""

STUBS = {
    # Steps that stage things start one process a node; the run starts two ranks.
    "srun": """\
staging=""
while [ "${1#--}" != "$1" ]; do
  if [ "$1" = --mpi=none ]; then staging=1; fi
  shift
done
if [ -n "$staging" ]; then exec "$@"; fi
"""
    + REAL_MPIRUN,
    "pbsdsh": 'shift 2; exec "$@"\n',
    "blaunch": 'shift 2; exec "$@"\n',
    "mpirun": """\
while [ "${1#-}" != "$1" ]; do shift 2; done
"""
    + REAL_MPIRUN,
    "scontrol": 'echo "scontrol $*" >>"$CALLS"\n',
    "qsub": 'echo "qsub $*" >>"$CALLS"\n',
}


def job_environment(directory: Path) -> dict[str, str]:
    """What the schedulers tell a job, and stubs in place of their programs."""
    stubs = directory / "stubs"
    stubs.mkdir()
    for name, text in STUBS.items():
        (stubs / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (stubs / name).chmod(0o755)
    (directory / "hosts").write_text("node1\nnode1\n")
    return clean_environment(
        {
            "PATH": f"{stubs}:{os.environ['PATH']}",
            "MPIRUN": mpirun(),
            "CALLS": str(directory / "calls"),
            "TMPDIR": str(directory / "scratch"),
            "SLURM_SUBMIT_DIR": str(directory),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_CPUS_PER_TASK": "1",
            "PBS_O_WORKDIR": str(directory),
            "PBS_JOBID": "7.host",
            "PBS_NODEFILE": str(directory / "hosts"),
            "OMP_NUM_THREADS": "1",
            "LS_SUBCWD": str(directory),
            "LSB_JOBID": "7",
            "LSB_DJOB_HOSTFILE": str(directory / "hosts"),
            "LSB_DJOB_NUMPROC": "2",
        }
    )


def run_job(directory: Path, script: str, python: str) -> subprocess.CompletedProcess[str]:
    """Runs a script whose environment holds ``python``, a shell script, as its interpreter."""
    interpreter = directory / "environment" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(f"#!/bin/sh\n{python}\n")
    interpreter.chmod(0o755)
    (directory / "scratch").mkdir()
    save_graph(build_model("structured-coalescent", n=6, islands=2), directory / "graph.h5")
    text = (JOBS / script).read_text()
    job = directory / script
    job.write_text(text.replace('"$HOME/phasic"', f'"{directory}/environment"'))
    return subprocess.run(
        ["bash", job],
        env=job_environment(directory),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_job_leaves_its_trace_and_its_caches_in_shared_places(
    tmp_path: Path, script: str
) -> None:
    done = run_job(tmp_path, script, f'exec "{sys.executable}" "$@"')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "trace.h5").exists()
    assert json.loads((tmp_path / "trace.h5.json").read_text())["n_ranks"] == 2
    listed = phasic_mpi("cache", "list", tmp_path / "phasic-cache", "--format", "json")
    assert sum(entry["traces"] for entry in json.loads(listed.stdout)["segments"]) == 5
    assert list((tmp_path / "scratch").iterdir()) == [], "the node's disk is left clean"
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("script", "call"),
    [("slurm.sh", "scontrol requeue 7"), ("pbs.sh", "qsub jobs/pbs.sh"), ("lsf.sh", None)],
)
def test_a_job_that_was_stopped_is_queued_again(
    tmp_path: Path, script: str, call: str | None
) -> None:
    stopped = f'case "$*" in *" run "*) exit 75;; esac\nexec "{sys.executable}" "$@"'
    done = run_job(tmp_path, script, stopped)
    assert done.returncode == 75, done.stderr
    calls = tmp_path / "calls"
    # LSF requeues by itself, for the status that its directive names.
    assert (calls.read_text().strip() if calls.exists() else None) == call


def test_stubs_stand_for_programs_that_scripts_call() -> None:
    text = "".join((JOBS / script).read_text() for script in SCRIPTS)
    assert all(re.search(rf"\b{name}\b", text) for name in STUBS)
    assert shutil.which("tar")
