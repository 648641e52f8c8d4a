"""What an export consists of, for its dataset card; it is stored between the parts of an export that is resumed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from karma_gateway.exports.reader import Exported

#: What is counted by value.
_COUNTED = ("stream", "policy", "label_source", "chosen_model", "rejected_model")


class Tally:
    """Counts of preferences and of the rows that they made."""

    def __init__(self, stored: dict[str, Any] | None = None) -> None:
        stored = stored or {}
        self.rows: Counter[str] = Counter(stored.get("rows", {}))  # by split
        self.preferences: int = stored.get("preferences", 0)
        self.longer: int = stored.get("longer", 0)  # preferences whose chosen response has more characters
        self.equally_long: int = stored.get("equally_long", 0)
        self.probability: float = stored.get("probability", 0.0)  # summed, that the chosen response is better
        self.counts: dict[str, Counter[str]] = {
            name: Counter(stored.get("counts", {}).get(name, {})) for name in _COUNTED
        }

    def add(self, split: str, one: Exported) -> None:
        """Count a preference."""
        facts = one.facts
        self.rows[split] += len(one.rows)
        self.preferences += 1
        self.longer += facts.chosen_length > facts.rejected_length
        self.equally_long += facts.chosen_length == facts.rejected_length
        self.probability += facts.probability
        for name in _COUNTED:
            self.counts[name][getattr(facts, name)] += 1

    def stored(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "rows": dict(self.rows),
            "preferences": self.preferences,
            "longer": self.longer,
            "equally_long": self.equally_long,
            "probability": self.probability,
            "counts": {name: dict(counter) for name, counter in self.counts.items()},
        }
