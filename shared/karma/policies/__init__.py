"""Matching policies, one class per file: which models answer a prompt (`plan`), which responses to pair (`choose`).

The gateway plans and matching pairs, both with the policy that the stream names.
"""
