"""A bundled family of very small language models, whose answers can be checked.

`karma_demo.tasks` makes tasks with reference answers, `karma_demo.family` lists the checkpoints and their accuracies,
`karma_demo.training` trains the checkpoints from scratch.
"""
