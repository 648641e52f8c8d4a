"""`karma` in the process of the test: a process of its own takes most of a second of CPU to start."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from tempfile import TemporaryFile
from unittest.mock import patch

import karma_cli


def call(*arguments: str, environment: Mapping[str, str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """What `karma` with these arguments prints and how it exits, with `text` on its standard input.

    For commands that the test is not about, and that set no signal handlers.
    """
    out, said = io.StringIO(), io.StringIO()
    code: int | str | None = 0
    with (
        TemporaryFile("w+") as given,
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "argv", ["karma", *arguments]),
        patch.object(sys, "stdin", given),
        redirect_stdout(out),
        redirect_stderr(said),
    ):
        given.write(text or "")
        given.seek(0)
        try:
            karma_cli.main()
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(arguments, int(code or 0), out.getvalue(), said.getvalue())
