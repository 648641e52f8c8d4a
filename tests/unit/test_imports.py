"""What a service may lean on: generation and judging no database, nobody torch before it is used.

What each package may import is in `[tool.importlinter]` of `pyproject.toml`.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from karma.worker import template
from karma.worker.run import SERVICES

HEAVY = ("torch", "transformers", "sentence_transformers", "datasets", "trl", "pyarrow")
STORE = ("sqlalchemy", "alembic", "psycopg", "numpy")


@pytest.mark.parametrize(
    ("service", "unwanted"),
    [
        ("gateway", (*HEAVY, "fastapi", "uvicorn", "typer", "rich")),
        ("scoring", HEAVY),
        ("matching", HEAVY),
        ("generation", (*HEAVY, *STORE, "aiohttp", "typer", "rich")),
        ("judging", (*HEAVY, *STORE, "aiohttp", "typer", "rich")),
    ],
)
def test_importing_a_service_loads_nothing_that_it_may_not_have(service: str, unwanted: tuple[str, ...]) -> None:
    program = f"import sys, karma_{service}.worker; print(*sorted({set(unwanted)!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_karma_up_itself_imports_no_package_of_the_workers() -> None:
    unwanted = {*HEAVY, *STORE, "celery", "kombu", "aiohttp", "fastapi", "uvicorn", "jinja2"}
    program = f"import sys, karma_cli.commands.up; print(*sorted({unwanted!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_workers_are_forked_from_a_process_with_one_thread_and_all_that_they_import() -> None:
    """A model's packages start threads, and CUDA survives no fork: each worker imports its own."""
    assert set(template._IMPORTED) == set(SERVICES)
    wanted = {*template._CONSUMER, *(module for modules in template._IMPORTED.values() for module in modules)}
    assert [module for module in sorted(wanted) if find_spec(module) is None] == []
    program = (
        "import sys, threading; from karma.worker import template; template.preload(template._IMPORTED)\n"
        f"print(sorted({set(HEAVY)!r} & set(sys.modules)), sorted({wanted!r} - set(sys.modules)))\n"
        "print(threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n1\n"
