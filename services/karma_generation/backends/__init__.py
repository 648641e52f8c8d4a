"""Backends, by the name that a pool file has under `backend`. One class per file."""
