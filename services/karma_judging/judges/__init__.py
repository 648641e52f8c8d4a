"""Judges."""
from typing import Any
Judge = Any
JUDGES: dict[str, Any] = {}
