"""Deprecated import path for plug-in policies; it is removed in the next version."""

import warnings

from karma.policies.candidates import Candidate, Choice

__all__ = ["Candidate", "Choice"]

warnings.warn("karma_matching.policies is now karma.policies.candidates", DeprecationWarning, stacklevel=2)
