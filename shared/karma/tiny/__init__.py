"""A bundled family of real, very small language models with skills whose answers can be checked.

`karma.tiny.skills` makes tasks with reference answers, `karma.tiny.family` says which checkpoints exist and how
good each of them is, `karma.tiny.training` makes the checkpoints again from nothing.
"""
