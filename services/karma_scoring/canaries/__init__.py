"""Canaries: pairs whose answer is known, mixed into a stream to measure its judges (`canary_share`)."""
