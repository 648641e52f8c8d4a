"""Validation of preference files of any origin: what trainers would stumble over, named by row. It needs no store."""
