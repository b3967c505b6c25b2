"""Dense products have the same bits in every tile and by every instruction set that is there."""

import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c++20", "-O2", "-ffp-contract=off", "-Wno-psabi"]


def expected_names() -> list[str]:
    """What the machine says that it can do."""
    if platform.machine() != "x86_64":
        return ["portable"]
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    has_avx2 = {"avx2", "fma"} <= set(flags)
    has_avx512 = has_avx2 and "avx512f" in flags
    return ["portable", *["avx2"] * has_avx2, *["avx512", "narrow avx512"] * has_avx512]


def test_products_have_the_bits_of_sums_one_by_one(tmp_path: Path) -> None:
    program = tmp_path / "dense_products"
    command = ["g++", *FLAGS, ROOT / "tests" / "dense_products.cpp", "-o", program]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    done = subprocess.run([program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines() == expected_names()
