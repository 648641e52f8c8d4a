"""Backends: the ways to ask a model, by the name that a pool file gives under `backend`. One class a file."""
