"""Calls at half price: through a provider's files and batches endpoints (OpenAI's protocol), hours instead of seconds.

A request is known by a hash of its content, its `custom_id`. So the provider's own list of jobs says which requests
have been asked, whichever worker asked them: nothing about jobs is stored elsewhere, and a worker that takes over looks
there first (decision 0019).
"""
