"""The quick checkup of `karma up`: one call of each remote model and judge, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable

from karma_cli.commands.doctor.checkup import read_printed


def start(flags: Iterable[str]) -> subprocess.Popen[str]:
    """Start the checkup."""
    command = [sys.executable, "-P", "-m", "karma_cli", "doctor", "--quick", "--json", *flags]
    return subprocess.Popen(  # noqa: S603 - KARMA's own command
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True, env={**os.environ},
    )  # fmt: skip


def report(checking: subprocess.Popen[str], say: Callable[[str], object]) -> None:
    """Say what cannot work, and which judges are kin to what they judge, once the checkup has ended."""
    checked = read_printed(checking.communicate()[0])
    found = [(one, finding) for one in checked for finding in one.findings]
    for _one, finding in found:
        if finding.code == "judge-kin":
            say(f"{finding.read} {finding.help[0].upper()}{finding.help[1:]}.")
    broken = [(one, finding) for one, finding in found if finding.severity == "error"]
    for one, finding in broken:
        say(f"the {one.of} {one.name} does not work: {finding.read} ({finding.help})")
    if broken:
        say("prompts that need them wait or fail; what failed: karma requeue failed. To check again: karma doctor")
