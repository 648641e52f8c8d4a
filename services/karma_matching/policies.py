"""The former home of what plug-in policies import; it goes with the next version."""

import warnings

from karma.policies.candidates import Candidate, Choice

__all__ = ["Candidate", "Choice"]

warnings.warn("karma_matching.policies is now karma.policies.candidates", DeprecationWarning, stacklevel=2)
