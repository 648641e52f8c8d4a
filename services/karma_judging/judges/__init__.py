"""Judges: the ways to judge a pair, by the name that a pool file gives under `kind`. One class a file."""
