"""Workers whose pool file describes a model or judge otherwise than the gateway's: they give its work back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from karma.queue.heartbeats import WorkerInfo

_KINDS = {"generate": "model", "judge": "judge"}


def conflicts(alive: Sequence[WorkerInfo]) -> list[dict[str, str]]:
    """What workers serve by other settings than a gateway asks for; of those whose heartbeat has not expired."""
    ready = [one for one in alive if one.state == "ready"]
    asked = [one.specifications for one in ready if one.service == "gateway"]
    return [
        {"worker": one.id, "kind": _KINDS.get(queue.partition(".")[0], ""), "name": queue.partition(".")[2]}
        for one in ready
        if one.service != "gateway"
        for queue, fingerprint in sorted(one.specifications.items())
        if any(gateway.get(queue, fingerprint) != fingerprint for gateway in asked)
    ]


def described(found: Iterable[dict[str, str]]) -> list[str]:
    """The conflicts as sentences."""
    return [
        f"The worker {one['worker']} has other settings of the {one['kind']} {one['name']} than the gateway asks for: "
        "that work waits. Start both with the same pool file and templates."
        for one in found
    ]
