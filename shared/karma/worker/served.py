"""The models or judges that a worker serves, as its own pool file describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from karma.errors import ReleasedError
from karma.messages import GenerateBatch, JudgeBatch
from karma.queue.celery_app import target_of

Spec = TypeVar("Spec")


class OtherSpecificationError(ReleasedError):
    """A message asks for a specification that is not this worker's: its pool file is not the gateway's."""


@dataclass(frozen=True)
class Served(Generic[Spec]):
    """Specifications with their fingerprints, by the name of the model or judge."""

    specs: Mapping[str, Spec]
    fingerprints: Mapping[str, str]
    local: bool = False  # whether a model runs in this process
    silence_s: float = 10.0  # without a heartbeat, after which a claim expires

    def asked(self, batch: GenerateBatch | JudgeBatch) -> Spec:
        """The specification that a message asks for.

        Raises:
            OtherSpecificationError: this worker has none of this name, or another one.
        """
        name = target_of(batch)
        if name not in self.specs:
            raise OtherSpecificationError(f"{name!r} is not served by this worker")
        # Messages of version 1 have no fingerprint; they are read only where nothing is signed.
        if batch.specification not in ("", self.fingerprints[name]):
            raise OtherSpecificationError(
                f"{name!r} is asked for with other settings than this worker's pool file has. "
                "Start the gateway and this worker with the same pool file"
            )
        return self.specs[name]
