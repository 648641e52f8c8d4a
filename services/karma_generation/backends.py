"""Backends."""
from typing import Any
Backend = Any
BACKENDS: dict[str, Any] = {}
