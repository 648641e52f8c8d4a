"""Matching policies, one class a file: which models answer a prompt (`plan`), which responses are paired (`choose`).

The gateway plans and matching pairs, both with the policy that the stream names.
"""
