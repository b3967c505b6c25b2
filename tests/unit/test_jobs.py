"""Batch scripts: directives, shell, and each run from end to end with a stub scheduler.

The stubs stand for a cluster of two nodes, ``node1`` and ``node2``, with a rank on each. A node's
disk is a directory of its own: where a command names the scratch directory, its node's is put in
place.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest

from phasic_mpi.graph_io import save_graph
from phasic_mpi.models import build_model
from phasic_mpi.scc import condense
from tests.launch import ROOT, clean_environment, mpirun, phasic_mpi

JOBS = ROOT / "jobs"
SCRIPTS = sorted(path.name for path in JOBS.glob("*.sh"))
SENTINELS = {"lsf.sh": "BSUB", "pbs.sh": "PBS", "slurm.sh": "SBATCH"}
EDITED = ("graph", "trace", "environment")

GRAPH = build_model("structured-coalescent", n=20, islands=3)
N_DISTINCT = len(condense(GRAPH).distinct)

TIME = r"(\d+-)?\d{1,3}:\d{2}:\d{2}"
COUNT = r"[1-9]\d*"

# Options of sbatch, qsub (PBS Pro) and bsub, from their manual pages, with the form of values;
# those that scripts here may come to use.
OPTIONS = {
    "slurm.sh": {
        **dict.fromkeys(("--nodes", "--ntasks", "--ntasks-per-node", "--cpus-per-task"), COUNT),
        **dict.fromkeys(("--exclusive", "--requeue"), ""),
        **dict.fromkeys(("--account", "--partition", "--qos", "--job-name"), r"[\w-]+"),
        **dict.fromkeys(("--mem", "--mem-per-cpu", "--tmp"), r"\d+[KMGT]?"),
        **dict.fromkeys(("--output", "--error"), r"[\w%./-]+"),
        "--open-mode": "append|truncate",
        "--signal": r"([RB]:)?[A-Z]+\d?@\d+",
        "--time": TIME,
    },
    "pbs.sh": {
        **dict.fromkeys(("-N", "-q", "-A", "-P"), r"[\w-]+"),
        "-l": rf"select=\d+(:\w+=\w+)+|place=(free|pack|scatter)(:excl)?|walltime={TIME}",
        "-r": "y|n",
        "-j": "oe|eo|n",
    },
    "lsf.sh": {
        **dict.fromkeys(("-J", "-q", "-P", "-app"), r"[\w-]+"),
        **dict.fromkeys(("-x", "-r"), ""),
        **dict.fromkeys(("-o", "-e"), r"[\w%./-]+"),
        "-n": COUNT,
        "-R": r'"\w+\[.+\]"',
        "-W": r"(\d+:)?\d+",
        "-wa": r"[A-Z]+\d?",
        "-wt": r"(\d+:)?\d+",
        "-Q": r'"[\d ]+"',
    },
}


def text(script: str) -> str:
    return (JOBS / script).read_text()


def directives(script: str) -> list[tuple[str, str]]:
    """Options and values that a script gives to its scheduler."""
    lines = re.findall(rf"(?m)^#{SENTINELS[script]} (.*)$", text(script))
    separator = "=" if script == "slurm.sh" else " "
    return [(name, value) for name, _, value in (line.partition(separator) for line in lines)]


def test_there_is_a_script_for_each_scheduler() -> None:
    assert SCRIPTS == sorted(SENTINELS) == sorted(OPTIONS)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("command", [["bash", "-n"], [Path(sys.executable).parent / "shellcheck"]])
def test_bash_and_shellcheck_have_nothing_to_say(script: str, command: list[str | Path]) -> None:
    done = subprocess.run(
        [*command, JOBS / script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("script", SCRIPTS)
def test_there_are_three_lines_to_edit(script: str) -> None:
    (edited,) = re.findall(r"(?s)# Edit these three lines[^\n]*\n(.*?)\n\n", text(script))
    assert [line.split("=")[0] for line in edited.splitlines()] == list(EDITED)


@pytest.mark.parametrize("script", SCRIPTS)
def test_directives_are_options_of_the_scheduler_with_legal_values(script: str) -> None:
    given = directives(script)
    assert len(given) >= 6
    for name, value in given:
        assert name in OPTIONS[script]
        assert re.fullmatch(OPTIONS[script][name], value), f"{name} {value}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_directives_stand_before_the_first_command(script: str) -> None:
    lines = text(script).splitlines()
    first = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first:] if line.startswith(f"#{SENTINELS[script]}")]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_use_options_that_the_program_has(script: str) -> None:
    (command,) = re.findall(r"-m phasic_mpi run (.*?) \|\|", text(script).replace("\\\n", " "))
    known = set(re.findall(r"(?<![\w-])(-o|--[a-z-]+)", phasic_mpi("run", "--help").stdout))
    used = set(re.findall(r"(?<!\S)(-o|--[a-z-]+)", command))
    assert used == {"-o", "--cache", "--report"}
    assert used <= known


def test_slurm_signals_the_ranks_and_keeps_the_log_of_a_requeued_job() -> None:
    given = dict(directives("slurm.sh"))
    # With "B:" the signal would go to the script alone.
    assert given["--signal"] == "USR1@120"
    assert given["--open-mode"] == "append"
    assert "--requeue" in given


def test_pbs_asks_for_the_cores_that_its_ranks_use() -> None:
    (chunk,) = [value for _, value in directives("pbs.sh") if value.startswith("select=")]
    numbers = dict(part.split("=") for part in chunk.split(":")[1:])
    assert int(numbers["ncpus"]) == int(numbers["mpiprocs"]) * int(numbers["ompthreads"])


def test_lsf_warns_two_minutes_ahead_and_requeues_status_75() -> None:
    given = dict(directives("lsf.sh"))
    assert (given["-wa"], given["-wt"], given["-Q"]) == ("USR1", "2", '"75"')
    (slots,) = re.findall(r"span\[ptile=(\d+)\]", given["-R"])
    (threads,) = re.findall(r"(?m)^export NPROC=(\d+)$", text("lsf.sh"))
    assert int(given["-n"]) % int(slots) == int(slots) % int(threads) == 0


# Stubs take the options that the real commands have, and no others. A real launcher would take the
# variables of a job for a cluster to start ranks on.
PRELUDE = """\
#!/usr/bin/env bash
set -euo pipefail
unknown() { echo "$(basename "$0"): unknown option $1" >&2; exit 64; }
called() { echo "$(basename "$0") $*" >>"$CALLS"; }
on_node() {
  local node="$1"; shift
  exec "${@//$DISK/$DISK-$node}"
}
run_ranks() {
  local name
  for name in $(compgen -e | grep -E '^(SLURM|PBS|LSB|LS)_'); do unset "$name"; done
  exec "$MPIRUN" -n 1 "${@//$DISK/$DISK-node1}" : -n 1 "${@//$DISK/$DISK-node2}"
}
"""

STUBS = {
    "srun": """\
staging="" ntasks="$SLURM_NTASKS"
while [ "${1#-}" != "$1" ]; do
  case "$1" in
    --mpi=none) staging=yes ;;
    --ntasks=*) ntasks="${1#*=}" ;;
    --nodes=2 | --ntasks-per-node=1 | --cpu-bind=cores | --cpus-per-task=1 | --wait=60) ;;
    *) unknown "$1" ;;
  esac
  shift
done
[ "$ntasks" -eq 2 ]
if [ -z "$staging" ]; then run_ranks "$@"; fi
(on_node node1 "$@") & first="$!"
(on_node node2 "$@") & second="$!"
wait "$first"
wait "$second"
""",
    # Starts a program with next to nothing in its environment.
    "pbs_tmrsh": 'node="$1"; shift; on_node "$node" env -i HOME="$HOME" "$@"\n',
    "blaunch": """\
[ "$1" = -no-shell ]
node="$2"; shift 2
on_node "$node" env --default-signal=USR1 "$@"
""",
    "mpirun": """\
while [ "${1#-}" != "$1" ]; do
  case "$1" in
    -n) [ "$2" -eq 2 ] ;;
    -ppn | -bind-to | -f) called "$1" "$2" ;;
    *) unknown "$1" ;;
  esac
  shift 2
done
run_ranks "$@"
""",
    "qstat": """\
[ "$*" = "-f 7.host" ]
printf 'Job Id: 7.host\\n    Resource_List.select = 2\\n    Resource_List.walltime = 02:00:00\\n'
""",
    "timeout": 'called "$*"; exec "$TIMEOUT" "$@"\n',
    "scontrol": 'called "$*"\n',
    "qsub": 'called "$*"\n',
}

# A program that records block by block, with pauses, and says which process it is.
SLOW = """\
import os, pathlib, time
from phasic_mpi import pipeline
from phasic_mpi.store import TraceStore

keep = TraceStore.keep
def keep_slowly(self, traces):
    keep(self, traces)
    pathlib.Path(os.environ["PIDS"], str(os.getpid())).touch()
    time.sleep(0.3)

TraceStore.keep = keep_slowly
pipeline.BATCH_SECONDS = 0.0
"""

# A run that says it was stopped, whatever it was asked to do.
STOPPED = """\
import os, sys
if "run" in sys.argv:
    os._exit(75)
"""

# A program that says under what conditions caches are copied.
STEP = """\
import os, pathlib, signal, sys
if "copy" in sys.argv:
    ignored = signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    pathlib.Path(FACTS).write_text(f"{ignored}|{os.environ.get('LD_LIBRARY_PATH')}")
"""


class Cluster:
    """Two nodes with a scheduler, and a directory that they share, in a temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.shared = directory / "shared dir"  # quoting is right if a blank does no harm
        self.disks = [directory / f"disk-node{n}" for n in (1, 2)]
        self.calls = directory / "calls"
        self.pids = directory / "pids"
        self.environment = directory / "environment"
        stubs = directory / "stubs"
        for path in (self.shared, self.pids, stubs, *self.disks):
            path.mkdir()
        for name, body in STUBS.items():
            (stubs / name).write_text(PRELUDE + body)
            (stubs / name).chmod(0o755)
        (directory / "hosts").write_text("node1\nnode2\n")
        venv.create(self.environment, symlinks=True)
        self.packages = Path(
            sysconfig.get_path("purelib", "venv", vars={"base": str(self.environment)})
        )
        (self.packages / "a.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
        save_graph(GRAPH, self.shared / "the graph.h5")
        self.variables = {
            "PATH": f"{stubs}:{os.environ['PATH']}",
            # The environment brings no MPI: it comes from what stands for a module.
            "LD_LIBRARY_PATH": f"{sys.prefix}/lib:{os.environ.get('LD_LIBRARY_PATH', '')}",
            "MPIRUN": mpirun(),
            "TIMEOUT": str(shutil.which("timeout")),
            "CALLS": str(self.calls),
            "PIDS": str(self.pids),
            "DISK": str(directory / "disk"),
            "TMPDIR": str(directory / "disk"),
            "SLURM_SUBMIT_DIR": str(self.shared),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_NTASKS": "2",
            "SLURM_CPUS_PER_TASK": "1",
            "PBS_O_WORKDIR": str(self.shared),
            "PBS_JOBID": "7.host",
            "PBS_NODEFILE": str(directory / "hosts"),
            "OMP_NUM_THREADS": "1",
            "LS_SUBCWD": str(self.shared),
            "LSB_JOBID": "7",
            "LSB_DJOB_HOSTFILE": str(directory / "hosts"),
            "LSB_DJOB_NUMPROC": "8",
        }

    def patch(self, code: str) -> None:
        """Has every Python of the environment run ``code`` when it starts; none if empty."""
        (self.packages / "patch.py").write_text(code)
        (self.packages / "b.pth").write_text("import patch\n")

    def start(self, script: str) -> "subprocess.Popen[str]":
        disk = self.variables["DISK"]
        job = self.shared / script
        job.write_text(
            text(script)
            .replace('"$HOME/phasic"', f'"{self.environment}"')
            .replace('scratch="/tmp/', f'scratch="{disk}/')
            .replace('"graph.h5"', '"the graph.h5"')
            .replace('"trace.h5"', '"the trace.h5"')
        )
        environment = clean_environment(self.variables)
        del environment["PYTHONPATH"]
        return subprocess.Popen(
            ["bash", job],
            env=environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str) -> tuple[int, str]:
        return self.finish(self.start(script))

    def finish(self, job: "subprocess.Popen[str]") -> tuple[int, str]:
        """Status and output of a job; a job that hangs is ended and fails the test."""
        try:
            output, _ = job.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            for pid in processes(job.pid):
                os.kill(pid, signal.SIGKILL)
            output, _ = job.communicate()
            raise AssertionError(f"the job hangs\n{output}") from None
        return job.returncode, output

    def wait_until_both_ranks_have_saved(self, job: "subprocess.Popen[str]") -> list[int]:
        """Process numbers of the ranks."""
        deadline = time.monotonic() + 60
        while len(pids := list(self.pids.iterdir())) < 2:
            assert job.poll() is None, self.finish(job)
            assert time.monotonic() < deadline, "nothing is recorded"
            time.sleep(0.02)
        return [int(path.name) for path in pids]

    def calls_of(self, *names: str) -> list[str]:
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.split()[0] in names]

    def traces(self) -> int:
        """Block traces in the shared cache; every byte of it is verified."""
        cache = self.shared / "phasic-cache"
        verified = phasic_mpi("cache", "verify", cache)
        assert verified.returncode == 0, verified.stdout
        listed = phasic_mpi("cache", "list", cache, "--format", "json")
        return sum(entry["traces"] for entry in json.loads(listed.stdout)["segments"])

    def report(self) -> dict[str, object]:
        facts: dict[str, object] = json.loads((self.shared / "the trace.h5.json").read_text())
        return facts

    def left_over(self) -> list[Path]:
        """What a job should have removed."""
        return [
            *(path for disk in self.disks for path in disk.iterdir()),
            *self.shared.glob("phasic-cache/environment*"),
        ]


def processes(session: int) -> list[int]:
    """Processes of a session, which is that of a job."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture(scope="module", params=SCRIPTS)
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Cluster]:
    """A script, and the cluster after it has run to its end."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    status, output = cluster.run(request.param)
    assert status == 0, output
    return request.param, cluster


def test_a_job_leaves_its_trace_and_the_caches_of_all_nodes_in_shared_places(
    finished: tuple[str, Cluster],
) -> None:
    _, cluster = finished
    assert (cluster.shared / "the trace.h5").exists()
    facts = cluster.report()
    assert (facts["n_ranks"], facts["n_recorded"]) == (2, N_DISTINCT)
    assert cluster.traces() == N_DISTINCT
    written = {path.parent.name for path in cluster.shared.glob("phasic-cache/rank-*/*.h5")}
    assert written == {"rank-00000", "rank-00001"}, "each node has copied its own"


def test_a_job_that_is_done_cleans_up_and_is_not_queued_again(
    finished: tuple[str, Cluster],
) -> None:
    _, cluster = finished
    assert cluster.left_over() == []
    assert cluster.calls_of("scontrol", "qsub") == []


def test_ranks_and_threads_come_from_the_scheduler(finished: tuple[str, Cluster]) -> None:
    script, cluster = finished
    pinned = {
        "slurm.sh": [],  # its stub knows the options
        "pbs.sh": [f"mpirun -f {cluster.variables['PBS_NODEFILE']}", "mpirun -bind-to core:1"],
        "lsf.sh": ["mpirun -ppn 1", "mpirun -bind-to core:4"],
    }
    assert cluster.calls_of("mpirun") == pinned[script]


def test_pbs_warns_two_minutes_before_the_limit(finished: tuple[str, Cluster]) -> None:
    script, cluster = finished
    calls = cluster.calls_of("timeout")
    assert len(calls) == (script == "pbs.sh")
    for call in calls:
        options = re.match(r"timeout --preserve-status --signal=USR1 (\d+) mpirun", call)
        assert options
        # The job has already spent seconds on staging.
        assert 7080 - 60 <= int(options[1]) <= 7080


def expected_requeue(cluster: Cluster, script: str) -> list[str]:
    """LSF requeues by itself, for the status that a directive names."""
    again = f"qsub {cluster.shared / script}"
    return {"slurm.sh": ["scontrol requeue 7"], "pbs.sh": [again], "lsf.sh": []}[script]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_job_whose_program_returns_75_is_queued_again(cluster: Cluster, script: str) -> None:
    cluster.patch(STOPPED)
    status, output = cluster.run(script)
    assert status == 75, output
    assert cluster.calls_of("scontrol", "qsub") == expected_requeue(cluster, script)
    assert cluster.left_over() == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_job_whose_program_fails_keeps_its_status_and_is_not_queued_again(
    cluster: Cluster, script: str
) -> None:
    (cluster.shared / "the graph.h5").unlink()
    status, output = cluster.run(script)
    assert status == 1
    assert "graph.h5 cannot be read" in output
    assert cluster.calls_of("scontrol", "qsub") == []
    assert cluster.left_over() == []


def warn(script: str, job: "subprocess.Popen[str]", ranks: list[int]) -> None:
    """Does what the scheduler does two minutes before the limit."""
    if script == "slurm.sh":  # signals the tasks of the step
        for pid in ranks:
            os.kill(pid, signal.SIGUSR1)
    elif script == "lsf.sh":  # signals all processes of the job
        for pid in processes(job.pid):
            os.kill(pid, signal.SIGUSR1)
    else:  # nothing: the timer of 'timeout' goes off
        (timer,) = [
            pid
            for pid in processes(job.pid)
            if Path(f"/proc/{pid}/comm").read_text() == "timeout\n"
        ]
        os.kill(timer, signal.SIGALRM)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_job_that_is_warned_is_queued_again_and_goes_on(cluster: Cluster, script: str) -> None:
    cluster.patch(SLOW)
    job = cluster.start(script)
    warn(script, job, cluster.wait_until_both_ranks_have_saved(job))
    status, output = cluster.finish(job)
    assert status == 75, output
    assert cluster.calls_of("scontrol", "qsub") == expected_requeue(cluster, script)
    assert not (cluster.shared / "the trace.h5").exists()
    n_saved = cluster.traces()
    assert 2 <= n_saved < N_DISTINCT
    cluster.patch("")
    status, output = cluster.run(script)
    assert status == 0, output
    facts = cluster.report()
    assert (facts["n_cache_hits"], facts["n_recorded"]) == (n_saved, N_DISTINCT - n_saved)


def test_a_job_that_pbs_ends_saves_its_caches_and_submits_nothing(cluster: Cluster) -> None:
    cluster.patch(SLOW)
    job = cluster.start("pbs.sh")
    cluster.wait_until_both_ranks_have_saved(job)
    for pid in processes(job.pid):
        os.kill(pid, signal.SIGTERM)
    status, output = cluster.finish(job)
    assert status != 0, output
    assert cluster.traces() >= 2
    assert cluster.calls_of("qsub") == []


@pytest.mark.parametrize(
    ("script", "begin"), [("slurm.sh", "True|"), ("lsf.sh", "True|"), ("pbs.sh", "False|")]
)
def test_steps_are_deaf_to_the_warning_and_find_the_libraries_of_modules(
    cluster: Cluster, script: str, begin: str
) -> None:
    facts = cluster.shared / "facts"
    cluster.patch(f"FACTS = {str(facts)!r}\n{STEP}")
    status, output = cluster.run(script)
    assert status == 0, output
    assert facts.read_text().startswith(begin)  # PBS warns with 'timeout', which knows no steps
    if script == "pbs.sh":  # the others hand on the whole environment
        assert facts.read_text() == begin + cluster.variables["LD_LIBRARY_PATH"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_caches_that_cannot_be_copied_back_stay_on_the_nodes(cluster: Cluster, script: str) -> None:
    cluster.patch(SLOW)
    job = cluster.start(script)
    ranks = cluster.wait_until_both_ranks_have_saved(job)
    shutil.rmtree(cluster.shared / "phasic-cache")
    (cluster.shared / "phasic-cache").touch()
    warn(script, job, ranks)
    status, output = cluster.finish(job)
    assert status == 1
    assert "Not all caches could be copied" in output
    assert cluster.calls_of("scontrol", "qsub") == []
    assert all(list(disk.glob("phasic-*/cache/rank-*/*.h5")) for disk in cluster.disks)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scratch_of_an_earlier_attempt_is_used_again(cluster: Cluster, script: str) -> None:
    name = "phasic-7.host" if script == "pbs.sh" else "phasic-7"
    done = phasic_mpi(
        *("run", cluster.shared / "the graph.h5", "--cache", cluster.disks[0] / name / "cache")
    )
    assert done.returncode == 0, done.stderr
    status, output = cluster.run(script)
    assert status == 0, output
    assert cluster.report()["n_recorded"] == 0
    assert cluster.traces() == N_DISTINCT


@pytest.mark.parametrize("script", SCRIPTS)
def test_scratch_that_leads_elsewhere_is_refused(cluster: Cluster, script: str) -> None:
    name = "phasic-7.host" if script == "pbs.sh" else "phasic-7"
    elsewhere = cluster.shared / "elsewhere"
    (elsewhere / "environment").mkdir(parents=True)
    (cluster.disks[1] / name).symlink_to(elsewhere)
    status, output = cluster.run(script)
    assert status != 0
    assert "belongs to somebody else" in output
    assert (elsewhere / "environment").exists(), "nothing is removed there"
