"""The code blocks of a page of the documentation, and a run of them as a reader would do it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# (?P<name>\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A block of code; Python that begins with its file's name is saved under it."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that it is saved as."""
        named = _NAME.match(self.text)
        return named["name"] if named and self.language == "python" else None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return [Block(found["language"], found["text"]) for found in _BLOCK.finditer(page.read_text())]


def run(page: Path, folder: Path, files: Path, environment: dict[str, str], timeout_s: float) -> str:
    """Save the files of a page in `files` and run its commands in `folder`, in one shell; returns what they print.

    Raises:
        AssertionError: a command failed.
    """
    found = blocks(page)
    files.mkdir(exist_ok=True)
    for block in found:
        if block.file is not None:
            (files / block.file).write_text(block.text)
    script = "set -euo pipefail\n" + "\n".join(block.text for block in found if block.language == "bash")
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
