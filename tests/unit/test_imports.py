"""What a service may lean on: generation and judging no database, nobody torch before it is used.

What each package may import is in `[tool.importlinter]` of `pyproject.toml`.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

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
