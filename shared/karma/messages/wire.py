"""The JSON text of messages, of this version and of earlier ones."""

from __future__ import annotations

import re

import msgspec

from karma.errors import MessageError
from karma.messages import Batch
from karma.messages.v1 import UPCASTERS, OldBatch

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Batch | OldBatch] = msgspec.json.Decoder(Batch | OldBatch)

#: Errors of the decoder that quote a part of the message, possibly of a prompt.
_QUOTING = re.compile(r"(Invalid enum value|Object contains unknown field|Invalid value) .*( - at .*)", re.DOTALL)
_UNKNOWN_VERSION = re.compile(r"Invalid value '[a-z]{1,16}\.v[0-9]{1,4}' - at `\$\.message`")


def encode(batch: Batch) -> str:
    """The JSON text of a message."""
    return _encoder.encode(batch).decode()


def decode(text: str | bytes) -> Batch:
    """Read a message of any version.

    Raises:
        MessageError: the text is no message that this version of KARMA can read; the error has the location.
    """
    try:
        batch = _decoder.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as cause:
        raise MessageError(f"not a message KARMA can read: {_fault(str(cause))}") from cause
    upcast = UPCASTERS.get(type(batch))
    return upcast(batch) if upcast else batch  # type: ignore[return-value]


def _fault(error: str) -> str:
    """The fault of a message and its location, without the part of the message that the decoder quotes."""
    return error if _UNKNOWN_VERSION.fullmatch(error) else _QUOTING.sub(r"\1\2", error)
