"""What a step costs: wall and CPU seconds of this process, CPU seconds of PostgreSQL, peak memory."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from actuals_pipelines.settings import Home


@dataclass(slots=True)
class Step:
    """One measured step; `rows` may be set inside its block."""

    name: str
    rows: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0  # of this process, all threads
    server_cpu_seconds: float = 0.0  # of PostgreSQL, all its processes
    peak_mib: float = 0.0  # of this process during the step, where the system can tell; else since its start


@contextmanager
def measured(name: str, home: Home | None = None) -> Iterator[Step]:
    """Measure the block. The peak is that of the block alone on Linux."""
    step = Step(name)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far: proc(5)
    server, wall, cpu = server_cpu_seconds(home), time.perf_counter(), time.process_time()
    yield step
    step.wall_seconds, step.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    step.server_cpu_seconds = server_cpu_seconds(home) - server
    step.peak_mib = _peak_mib()


def total(name: str, steps: Sequence[Step], rows: int) -> Step:
    """Several steps as one."""
    return Step(
        name,
        rows,
        sum(step.wall_seconds for step in steps),
        sum(step.cpu_seconds for step in steps),
        sum(step.server_cpu_seconds for step in steps),
        max(step.peak_mib for step in steps),
    )


def print_steps(steps: Sequence[Step], unit: str = "rows") -> None:
    """A line a step; without rows there is no rate."""
    tell(f"{'':44} {'wall s':>9} {'CPU s':>9} {'server s':>9} {'peak MiB':>9} {unit:>11} {unit + '/s':>11}")
    for step in steps:
        rate = f"{step.rows:11,} {step.rows / step.wall_seconds:11,.1f}" if step.rows else ""
        seconds = f"{step.wall_seconds:9.2f} {step.cpu_seconds:9.2f} {step.server_cpu_seconds:9.2f}"
        tell(f"{step.name:44} {seconds} {step.peak_mib:9.0f} {rate}".rstrip())


def interleaved(times: int, **what: Callable[[], object]) -> dict[str, Step]:
    """Median wall and CPU seconds of each, run in turn so that a busy moment of the machine meets all of them alike."""
    runs: dict[str, list[Step]] = {name: [] for name in what}
    for _ in range(times):
        for name, do in what.items():
            with measured(name) as step:
                do()
            runs[name].append(step)
    return {name: _median(name, steps) for name, steps in runs.items()}


def _median(name: str, steps: Sequence[Step]) -> Step:
    return Step(
        name,
        wall_seconds=statistics.median(step.wall_seconds for step in steps),
        cpu_seconds=statistics.median(step.cpu_seconds for step in steps),
        peak_mib=max(step.peak_mib for step in steps),
    )


def tell(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _peak_mib() -> float:
    with suppress(OSError):
        # Not getrusage: a child process starts with the peak of its parent there.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def server_cpu_seconds(home: Home | None) -> float:
    """CPU of the server and its backends, those that ended included."""
    if home is None:
        return 0.0
    postmaster = psutil.Process(int((home.postgres / "data" / "postmaster.pid").read_text().splitlines()[0]))
    times = postmaster.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system
    for backend in postmaster.children():
        with suppress(psutil.NoSuchProcess):
            seconds += sum(backend.cpu_times()[:2])
    return seconds
