"""Exporters: the formats of exported preferences, by the name that `karma export` takes. One function a file."""
