"""Limits of endpoints, shared by all workers: requests and tokens per minute, concurrent calls, and a circuit breaker.

Every worker process *exchanges* with the endpoint's state (`exchange`): it reports what came of its calls and gets how
many calls it may have in progress, and when the next may begin. The rules are plain functions of a state, a report and
a time. `karma.queue.endpoint_limits` keeps the states in Redis.
"""
