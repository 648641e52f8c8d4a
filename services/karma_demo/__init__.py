"""A bundled family of real, very small language models with skills whose answers can be checked.

`karma_demo.tasks` makes tasks with reference answers, `karma_demo.family` says which checkpoints exist and how
good each of them is, `karma_demo.training` makes the checkpoints again from nothing.
"""
