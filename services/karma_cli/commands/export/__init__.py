"""`karma export`: the command, and what it says of the origin of the data."""
