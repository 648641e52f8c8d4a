"""The code blocks of a page of the documentation, and a run of them as a reader would do it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n) {4}\S.*")
_NAME = re.compile(r"# (?P<name>\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A block of code; Python that begins with its file's name is saved under it. No language: an empty one."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that it is saved as."""
        named = _NAME.match(self.text)
        return named["name"] if named and self.language == "python" else None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return [
        Block(found["language"], re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE))
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def unfenced(page: Path) -> list[str]:
    """First lines of code that is indented instead of fenced, so that it cannot say its language."""
    return _INDENTED.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))


def replace(text: str, replaced: Mapping[str, str]) -> str:
    """A text with parts replaced.

    Raises:
        AssertionError: the text does not have one of them any more.
    """
    for old, new in replaced.items():
        assert old in text, f"{old!r} is in no block of the page"
        text = text.replace(old, new)
    return text


def run(
    page: Path,
    folder: Path,
    files: Path,
    environment: dict[str, str],
    timeout_s: float,
    replaced: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Save the files of a page in `files` and run its commands in `folder`, in one shell; returns what they print.

    `replaced`: parts of the commands that a test cannot run as they stand, and what it runs instead.

    Raises:
        AssertionError: a command failed.
    """
    found = blocks(page)
    files.mkdir(exist_ok=True)
    for block in found:
        if block.file is not None:
            (files / block.file).write_text(block.text)
    commands = "\n".join(block.text for block in found if block.language == "bash")
    stopped = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"  # what a failure left in the background
    script = f"set -euo pipefail\n{stopped}\n{replace(commands, replaced)}"
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
