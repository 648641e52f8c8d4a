"""Training on the preferences of a store that grows: `karma.data.Preferences`."""

from karma.data.cursor import Cursor
from karma.data.preferences import Preferences

__all__ = ["Cursor", "Preferences"]
