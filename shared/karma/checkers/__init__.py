"""Checkers decide whether a response agrees with the reference answer of its prompt; one function per file.

The verifier judge, scoring (for the quality of responses) and the demo use them.
"""
