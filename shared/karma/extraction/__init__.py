"""Extracts answers and numbers from texts of models, which are untrusted. Checkers and judges use it."""
