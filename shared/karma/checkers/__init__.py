"""Checkers: whether a response is right, given the reference answer of its prompt. One function a file.

The verifier judge uses them, scoring does for the quality of responses, and the demo.
"""
