"""What a file of a user may not do is refused, and what it does to HDF5 ends one process only."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from phasic_mpi import datasets, hdf5, user_hdf5
from phasic_mpi.datasets import NUMBERS, TEXTS
from phasic_mpi.errors import DamagedFileError, EnvironmentMismatchError, StoreError
from tests import children
from tests.hostile_hdf5 import (
    dangling_external_link,
    dangling_link,
    external_storage,
    foreign,
    group,
    huge_dataset,
    link_to_another_file,
    link_within,
    no_value,
    pairs,
    references,
    text,
    time_type,
    unknown_filter,
    virtual_dataset,
    with_right_digest,
)
from tests.launch import ROOT, clean_environment

MIB = 1 << 20

# What a child says of the file that ``plain`` makes.
PLACE = {"name": "a", "dtype": "<i8", "shape": [2], "offset": 2048}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.h5"


@pytest.fixture
def plain(path: Path) -> Path:
    """A file that nothing is wrong with."""
    return foreign(path, lambda file: file.update(a=np.arange(2)))


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a program in place of the one that reads HDF5."""
    return lambda program: monkeypatch.setattr(user_hdf5, "_PROGRAM", program)


def read_a(path: Path, *, byte_limit: int = MIB) -> hdf5.Arrays:
    return user_hdf5.read(path, {"a": NUMBERS}, byte_limit=byte_limit)


def refused(path: Path, **options: Any) -> StoreError:
    """The error with which a file is refused, checked for its parts."""
    with pytest.raises(StoreError) as caught:
        read_a(path, **options)
    error = caught.value
    assert error.what == f"{path} cannot be read"
    assert error.problem.count("Problem:") == 0
    assert error.context["path"] == path
    assert error.context["bytes"] == path.stat().st_size
    assert error.resolution
    return error


def children_of(process: int) -> list[int]:
    found: list[int] = []
    for entry in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, entry.read_text().split())
    return found


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    pytest.fail(f"not within {seconds} s: {what}")


# --- what is read --------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
ARRAYS = {
    "int8": RNG.integers(-99, 99, 7).astype(np.int8),
    "uint64": RNG.integers(0, 1 << 63, (5, 2), dtype=np.uint64),
    "big-endian": RNG.integers(-9, 9, (4, 3)).astype(">i4"),
    "half": RNG.uniform(size=9).astype(np.float16),
    "double": RNG.uniform(size=(300, 5)),
    "longer than a double": RNG.uniform(size=3).astype(np.longdouble),
    "no rows": np.zeros((0, 4)),
    "no columns": np.zeros((4, 0), dtype=np.int32),
    "cube": RNG.integers(0, 9, (3, 4, 5)),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"chunks": True},
        {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True},
    ],
)
def test_arrays_of_all_kinds_are_read_as_they_were_written(
    path: Path, name: str, settings: dict[str, Any]
) -> None:
    array = ARRAYS[name]
    foreign(path, lambda file: file.create_dataset("a", data=array, **settings))
    found = read_a(path)["a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert found.flags.c_contiguous
    assert found.flags.writeable


def unwritten(file: h5py.File) -> None:
    file.create_dataset("a", shape=(3, 2), dtype="f8", fillvalue=2.5)


def single_number(file: h5py.File) -> None:
    file["a"] = 2.5


def compact(file: h5py.File) -> None:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((4,))
    made = h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_DOUBLE, space, settings)
    made.write(space, space, np.full(4, 2.5))


def twenty_four_bits_each(file: h5py.File) -> None:
    kind = h5py.h5t.NATIVE_INT32.copy()
    kind.set_precision(24)
    space = h5py.h5s.create_simple((2,))
    made = h5py.h5d.create(file.id, b"a", kind, space)
    made.write(space, space, np.array([7, -70000], dtype=np.int32))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (unwritten, [[2.5, 2.5]] * 3),
        (single_number, 2.5),
        (compact, [2.5] * 4),
        (twenty_four_bits_each, [7, -70000]),
    ],
)
def test_numbers_that_do_not_lie_in_the_file_as_in_memory_are_read(
    path: Path, make: Callable[[h5py.File], object], expected: Any
) -> None:
    assert read_a(foreign(path, make))["a"].tolist() == expected


def test_a_file_behind_a_block_of_somebody_else_is_read(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=1024) as file:
        file["a"] = np.arange(9)
        file.create_dataset("b", data=np.arange(9), compression="gzip")
    found = user_hdf5.read(path, {"a": NUMBERS, "b": NUMBERS}, byte_limit=MIB)
    assert found["a"].tolist() == found["b"].tolist() == list(range(9))


def test_large_arrays_come_in_pieces(path: Path) -> None:
    """40 MiB: more than a pipe, or what is sent at once, would hold."""
    array = RNG.integers(0, 9, (1_300_000, 4))
    settings = {"chunks": (7_000, 3), "compression": "gzip", "compression_opts": 1}
    foreign(path, lambda file: file.create_dataset("a", data=array, **settings))
    np.testing.assert_array_equal(read_a(path, byte_limit=64 * MIB)["a"], array)


def test_texts_of_one_length_are_read(path: Path) -> None:
    names = np.array([b"one", b"three"], dtype="S8")
    foreign(path, lambda file: file.update(a=names))
    assert user_hdf5.read(path, {"a": TEXTS}, byte_limit=MIB)["a"].tolist() == names.tolist()


def test_datasets_that_are_not_there_are_left_out_and_others_not_read(path: Path) -> None:
    foreign(path, lambda file: file.update(b=np.arange(2), c=np.arange(3)))
    assert set(user_hdf5.read(path, {"a": NUMBERS, "b": NUMBERS}, byte_limit=MIB)) == {"b"}


def test_the_file_that_was_opened_is_read_although_another_takes_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign(path, lambda file: file.create_dataset("a", data=[1, 2], compression="gzip"))
    start = user_hdf5.Child

    def replacing(*arguments: Any, **options: Any) -> Any:
        other = foreign(path.with_name("other.h5"), lambda file: file.update(a=[3, 4]))
        other.rename(path)
        return start(*arguments, **options)

    monkeypatch.setattr(user_hdf5, "Child", replacing)
    assert read_a(path)["a"].tolist() == [1, 2]
    assert read_a(path)["a"].tolist() == [3, 4]


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (link_to_another_file, "got a link"),
        (link_within, "got a link"),
        (dangling_link, "got a link"),
        (dangling_external_link, "got a link"),
        (virtual_dataset, "got a reference"),
        (external_storage, "got a reference"),
        (huge_dataset, f"at most {MIB} bytes, it declares {8 << 40}"),
        (unknown_filter, "got filters {32000}"),
        (group, "expected a dataset of numbers"),
        (text, "expected a dataset of numbers"),
        (references, "expected a dataset of numbers"),
        (pairs, "expected a dataset of numbers"),
        (no_value, "a dataset without any"),
        (time_type, "HDF5 cannot read it"),
    ],
)
def test_what_could_reach_beyond_the_file_or_memory_is_refused(
    path: Path, make: Callable[[h5py.File], object], problem: str
) -> None:
    foreign(path, make)
    assert problem in refused(path).problem


def test_a_link_into_another_file_is_refused_without_opening_that_file(path: Path) -> None:
    other = path.with_name("pipe")
    os.mkfifo(other)  # opening it would wait forever
    foreign(path, lambda file: file.__setitem__("a", h5py.ExternalLink(str(other), "b")))
    assert "got a link" in refused(path).problem


def test_the_limit_is_for_all_datasets_together(path: Path) -> None:
    foreign(path, lambda file: file.update(a=np.zeros(100), b=np.zeros(100)))
    wanted = {"a": NUMBERS, "b": NUMBERS}
    assert len(user_hdf5.read(path, wanted, byte_limit=1600)) == 2
    with pytest.raises(StoreError, match="'b': expected at most 799 bytes, it declares 800"):
        user_hdf5.read(path, wanted, byte_limit=1599)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n", bytes(4096)])
def test_a_file_that_hdf5_cannot_read_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path)


def test_a_foreign_file_that_is_not_there_is_an_error_of_the_file_system(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_a(path)


def test_more_than_gzip_can_pack_is_refused_whatever_the_limit(path: Path) -> None:
    """The numbers are nowhere: chunks that are not written are full of zeros."""
    foreign(path, lambda file: file.create_dataset("a", (1 << 27,), "f4", chunks=(1 << 16,)))
    room = user_hdf5.UNWRITTEN_BYTES + 1032 * path.stat().st_size
    assert room < 1 << 29
    problem = refused(path, byte_limit=1 << 40).problem
    assert problem == f"'a': expected at most {room} bytes, it declares {1 << 29}"


def test_zeros_that_gzip_has_packed_as_well_as_it_can_are_read(path: Path) -> None:
    zeros = np.zeros(12 * MIB)
    settings = {"chunks": (MIB,), "compression": "gzip", "compression_opts": 9}
    foreign(path, lambda file: file.create_dataset("a", data=zeros, **settings))
    assert path.stat().st_size < zeros.nbytes / 900
    assert not read_a(path, byte_limit=1 << 40)["a"].any()


def test_a_chunk_that_takes_too_much_memory_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"chunks": (20 * MIB,), "compression": "gzip", "compression_opts": 1}
    foreign(path, lambda file: file.create_dataset("a", data=np.zeros(20 * MIB), **settings))
    monkeypatch.setattr(user_hdf5, "MEMORY_BYTES", 200 * MIB)
    problem = refused(path, byte_limit=1 << 40).problem
    limit = 200 * MIB + 4 * path.stat().st_size
    assert problem == f"expected HDF5 to take at most {limit} bytes of memory, it asks for more"


def test_damage_that_shows_late_is_refused(path: Path) -> None:
    """Half of the array has been sent by then."""
    array = RNG.integers(0, 1 << 60, 5 * MIB)
    settings = {"chunks": (MIB,), "fletcher32": True}
    foreign(path, lambda file: file.create_dataset("a", data=array, **settings))
    image = bytearray(path.read_bytes())
    at = image.index(array[-10:].tobytes())
    image[at] ^= 1
    path.write_bytes(image)
    assert "HDF5 cannot read it" in refused(path, byte_limit=64 * MIB).problem


def test_a_file_that_shrinks_while_it_is_read_is_refused(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = user_hdf5._places

    def shrinking(*arguments: Any) -> Any:
        found = describe(*arguments)
        os.truncate(plain, 512)
        return found

    monkeypatch.setattr(user_hdf5, "_places", shrinking)
    with pytest.raises(StoreError, match=r"expected 16 bytes from byte \d+ on, but the file ends"):
        read_a(plain)


# --- what a child may do -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "problem"),
    [
        (children.CRASHES, "was ended by SIGSEGV"),
        ("os.abort()", "was ended by SIGABRT"),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL, as the system does when memory runs ou"),
        ("sys.exit(7)", "ended with status 7"),
        ("sys.exit('a\\n\\x1b[31mb\\n')", "ended with status 1:  [31mb"),
        ("bytearray(8 << 30)", "ended with status 1: MemoryError"),
        ("os.write(os.memfd_create('a'), b'a')", "File too large"),
        ("os.close(1); time.sleep(600)", "says no more and does not end"),
        ("os.write(1, b'no message'); time.sleep(600)", "expected a message of kind b'D'"),
        ("os.write(2, bytes(70_000))", "expected the next 9 bytes of an answer within 3 s, got 0"),
        (children.SLEEPS, "expected the next 9 bytes of an answer within 3 s, got 0"),
        ("say(b'D', length=1 << 62)", "got one of kind b'D' and 4611686018427387904 bytes"),
        ("say(b'R', length=1 << 30)", "got one of kind b'R' and 1073741824 bytes"),
        ("say(b'D', b'[}')", "expected a description of the datasets, got: JSON is malformed"),
        ("say(b'D', b'[{}]')", "expected a description of the datasets, got: Object missing"),
    ],
)
def test_a_child_that_does_not_answer_is_an_error_that_says_what_it_did(
    plain: Path,
    child: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    does: str,
    problem: str,
) -> None:
    if "within 3 s" in problem:
        monkeypatch.setattr(user_hdf5, "SECONDS", 3)
    child(children.program(does))
    error = refused(plain)
    assert error.problem.startswith("HDF5 reads it in a process of its own: expected ")
    assert problem in error.problem
    assert error.problem.isprintable()
    assert error.context["memory_bytes"] == (1 << 30) + 4 * plain.stat().st_size
    assert not children_of(os.getpid())


@pytest.mark.parametrize(
    "change",
    [
        {"name": "b"},
        {"dtype": "|O"},
        {"dtype": "|S4"},
        {"dtype": "<i3"},
        {"dtype": "<i8, <i8"},
        {"shape": [-1]},
        {"shape": [-1, -2]},
        {"shape": [1] * 33},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": [(1 << 17) + 1], "offset": None},
        {"shape": [0, 1 << 62, 1 << 62]},
        {"shape": [0, 1 << 64]},
        {"offset": -8},
        {"offset": 2049},
    ],
)
def test_a_description_of_what_cannot_be_is_refused(
    plain: Path, child: Callable[..., None], change: dict[str, Any]
) -> None:
    assert plain.stat().st_size == 2064
    child(children.describes(PLACE, then="time.sleep(600)"))
    assert read_a(plain)["a"].tolist() == [0, 1]
    child(children.describes({**PLACE, **change}, then="time.sleep(600)"))
    assert "of its own: expected " in refused(plain).problem
    child(children.describes(PLACE, PLACE))
    assert "expected each dataset once, got one twice" in refused(plain).problem


def test_bytes_that_were_not_described_are_refused(plain: Path, child: Callable[..., None]) -> None:
    sent = {**PLACE, "offset": None}
    child(children.describes(sent, then="say(b'B', bytes(8)); say(b'B', b'\\1' + bytes(7))"))
    assert read_a(plain)["a"].tolist() == [0, 1]
    child(children.describes(sent, then="say(b'B', bytes(8)); say(b'B', bytes(9))"))
    assert "at most 8 bytes, got one of kind b'B' and 9 bytes" in refused(plain).problem
    child(children.describes(sent, then="say(b'B', bytes(8))"))
    assert "the process ended with status 0" in refused(plain).problem


def test_a_child_that_sends_a_little_now_and_then_runs_out_of_time(
    plain: Path, child: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_hdf5, "SECONDS", 2)
    sent = {**PLACE, "offset": None, "shape": [1 << 16]}
    child(
        children.program(
            f"say(b'D', {json.dumps([sent]).encode()!r})\n"
            "while True: say(b'B', b'a'); time.sleep(0.1)"
        )
    )
    begin = time.monotonic()
    assert "of an answer within 2 s" in refused(plain).problem
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_child_that_is_killed_while_it_reads_is_an_error(
    path: Path, number: signal.Signals
) -> None:
    settings = {"chunks": (MIB,), "compression": "gzip", "compression_opts": 1}
    foreign(path, lambda file: file.create_dataset("a", data=np.zeros(64 * MIB), **settings))
    killed = []

    def kill() -> None:
        def reading() -> list[int]:
            nothing = (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
            return [
                process
                for process in children_of(os.getpid())
                if all(resource.prlimit(process, kind) == (0, 0) for kind in nothing)
            ]

        (process,) = wait_for(reading, "a child that can open nothing")
        os.kill(process, number)
        killed.append(process)

    thread = threading.Thread(target=kill)
    thread.start()
    error = refused(path, byte_limit=1 << 40)
    thread.join()
    assert f"expected an answer, but the process was ended by {number.name}" in error.problem
    assert not Path(f"/proc/{killed[0]}").exists()


def test_a_child_has_nothing_of_a_launcher_and_of_the_terminal_and_is_limited(
    plain: Path, child: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "PYTHONPATH", "HDF5_PLUGIN_PATH"):
        monkeypatch.setenv(name, "1")
    child(
        children.program("""
limits = [resource.getrlimit(getattr(resource, f"RLIMIT_{n}")) for n in
          ("AS", "CPU", "CORE", "FSIZE")]
files = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
         if os.path.exists(f"/proc/self/fd/{n}")]
facts = [sorted(os.environ), limits, files, os.getsid(0) == os.getpid(), os.getcwd()]
say(b'R', json.dumps(facts).encode())
""")
    )
    monkeypatch.setattr(user_hdf5, "printable", str)
    names, limits, files, is_alone, folder = json.loads(refused(plain).problem)
    computing = {"HDF5_PLUGIN_PRELOAD", "NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    # Python itself sets the last.
    assert set(names) <= computing | {"LD_LIBRARY_PATH", "LC_CTYPE"}
    n_bytes = plain.stat().st_size
    memory = (1 << 30) + 4 * n_bytes
    assert limits == [[memory, memory], [61, 62], [0, 0], [0, 0]]
    pipes = [file for file in files if re.fullmatch(r"pipe:\[\d+\]", file)]
    assert len(pipes) == 3
    assert {file for file in files if file not in pipes} <= {str(plain), "/proc/self/fd"}
    assert is_alone
    assert folder == "/"


def test_a_child_imports_neither_this_package_nor_mpi_nor_jax(plain: Path) -> None:
    code = (
        f"import runpy, sys; runpy.run_path({datasets.__file__!r}, run_name='__main__'); "
        "print({'h5py', 'jax', 'mpi4py', 'phasic_mpi'} & set(sys.modules), file=sys.stderr)"
    )
    with plain.open("rb") as file:
        descriptor = file.fileno()
        done = subprocess.run(
            [sys.executable, *["-I", "-S", "-B", "-c"], code, str(descriptor), str(os.getpid())]
            + [folder for folder in sys.path if folder],
            input=b'{"wanted": {"a": "i"}, "byte_limit": 100}\n',
            pass_fds=(descriptor,),
            capture_output=True,
            check=True,
        )
    assert done.stderr == b"{'h5py'}\n"
    assert done.stdout.startswith(datasets.MESSAGE.pack(b"S", 0))
    assert json.loads(done.stdout[18:]) == [PLACE]


@pytest.mark.parametrize(
    ("executable", "program", "problem"),
    [
        ("/nowhere/python", (), "expected to start /nowhere/python, got: [Errno 2]"),
        (sys.executable, children.program("import nothing", starts=False), "No module named 'noth"),
        (sys.executable, children.program(children.CRASHES, starts=False), "ended by SIGSEGV"),
    ],
)
def test_a_process_that_cannot_be_started_is_an_error_of_the_environment(
    plain: Path,
    child: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    executable: str,
    program: Any,
    problem: str,
) -> None:
    child(program)
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(EnvironmentMismatchError) as caught:
        read_a(plain)
    assert problem in caught.value.problem
    assert caught.value.context == {"path": plain, "python": executable}
    assert caught.value.resolution


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_child_ends_with_the_process_that_started_it(plain: Path, number: signal.Signals) -> None:
    sleeps = f"_end_with(int(sys.argv[2])); {children.SLEEPS}"
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.children", sleeps, str(plain)],
        cwd=ROOT,
        env=clean_environment(),
        stderr=subprocess.DEVNULL,
    )

    def sleeping() -> list[int]:
        """Children that ignore what is meant for the run, by the mask of ignored signals."""
        ignored = re.compile(r"^SigIgn:\s+(\w+)$", re.M)
        found = []
        for process in children_of(parent.pid):
            with contextlib.suppress(OSError):
                (mask,) = ignored.findall(Path(f"/proc/{process}/status").read_text())
                found += [process] if int(mask, 16) >> (signal.SIGTERM - 1) & 1 else []
        return found

    try:
        (process,) = wait_for(sleeping, "a child that sleeps")
        parent.send_signal(number)
        assert parent.wait(timeout=30) == -number
        wait_for(lambda: not Path(f"/proc/{process}").exists(), "the end of the child")
    finally:
        parent.kill()
        parent.wait()


def test_a_child_survives_signals_that_are_meant_for_the_run(plain: Path) -> None:
    """A batch system signals all processes of a job."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
    start = user_hdf5.Child
    with pytest.MonkeyPatch.context() as patch:

        class Signalled(start):  # type: ignore[misc, valid-type]
            def ask(self, request: bytes) -> None:
                for number in signals:
                    self._process.send_signal(number)
                super().ask(request)

        patch.setattr(user_hdf5, "Child", Signalled)
        assert read_a(plain)["a"].tolist() == [0, 1]


# --- files of our own form -----------------------------------------------------------------------


def write_own(path: Path, **datasets: np.ndarray) -> Path:
    hdf5.encode("phasic_mpi.test", (1, 0), datasets=datasets, attributes={}, summary={}).write(path)
    return path


def read_own(path: Path, *names: str) -> hdf5.Arrays:
    expected = dict.fromkeys(names, 0)
    arrays, header = user_hdf5.read_own(
        path, filetype="phasic_mpi.test", version=(1, 0), names=expected
    )
    assert header == hdf5.check(path)
    return arrays


def test_a_file_of_our_form_is_read_as_it_was_written(path: Path) -> None:
    written = {name.replace(" ", "-"): array for name, array in ARRAYS.items()}
    written["names"] = np.array([b"one", b"three"], dtype="S8")
    found = read_own(write_own(path, **written), *written)
    assert set(found) == set(written)
    for name, array in written.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable


def test_damage_is_noticed_before_hdf5_opens_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = bytearray(write_own(path, a=np.arange(9)).read_bytes())
    image[-1] ^= 1
    path.write_bytes(image)
    monkeypatch.setattr(user_hdf5, "_read", lambda *_: pytest.fail("HDF5 opens a damaged file"))
    with pytest.raises(DamagedFileError, match="SHA-256"):
        read_own(path, "a")


@pytest.mark.parametrize("make", [link_to_another_file, virtual_dataset, external_storage])
def test_a_right_digest_opens_no_other_files(
    path: Path, make: Callable[[h5py.File], object]
) -> None:
    path.write_bytes(with_right_digest(make, path.with_name("body.h5")))
    with pytest.raises(StoreError, match="got a"):
        read_own(path, "a")


def test_a_crash_on_a_file_with_a_right_digest_is_an_error(
    path: Path, child: Callable[..., None]
) -> None:
    child(children.program(children.CRASHES))
    with pytest.raises(StoreError, match="was ended by SIGSEGV"):
        read_own(write_own(path, a=np.arange(9)), "a")
