"""The number of redelivered batches, from the metrics of the gateways, as no table has it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException

from karma.queue.heartbeats import WorkerInfo

_RESENT = re.compile(rb"^karma_batches_resent_total\{[^}\n]*\} ([0-9.eE+]+)$", re.MULTILINE)
_ANSWER_S = 0.5


def redelivered(workers: Iterable[WorkerInfo]) -> int | None:
    """Batches redelivered since the gateways of this machine started; None where one is remote or does not answer."""
    gateways = [info for info in workers if info.service == "gateway" and info.state == "ready"]
    if not gateways or any(info.host != socket.gethostname() for info in gateways):
        return None
    total = 0.0
    for info in gateways:
        connection = HTTPConnection("127.0.0.1", info.metrics_port, timeout=_ANSWER_S)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        total += sum(float(number) for number in _RESENT.findall(text))
    return int(total)
