"""Judges, by the name that a pool file has under `kind`. One class per file."""
