"""Keeps keys out of what is stored: what looks like one in an endpoint's own words, and the call's own key anywhere.

An endpoint may repeat the key of a call: in an error, in a header that it prints back, or in an answer. It is replaced
before anything is read, and before anything is cut, which could leave a part that no longer looks like a key.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from urllib.parse import quote, quote_plus

#: A shorter key is a placeholder, such as `EMPTY`; it may be a word of an answer, or a part of the JSON around it.
_LEAST_CHARACTERS = 16

#: What looks like a key, in its usual forms.
_KEY = re.compile(
    r"\bBearer\s+\S+|\b(?-i:Basic\s+(?=\w*[a-z0-9][A-Z=])[\w+/]{8,}={0,2})"
    r"|\b(?:sk|pk|rk|gsk|hf|xai|ghp|gho|github_pat|glpat|xox[abp]|pplx|csk|fw|r8|nvapi|key|api[-_]?key)[-_][\w*-]{6,}"
    r"|\bAIza[\w-]{20,}|\bAKIA[A-Z0-9]{12,}|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
    r"|\b(?=[A-Za-z]*\d)[A-Za-z0-9]{32,}",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """The text without what looks like a key. For an endpoint's own words: an answer may rightly hold such a text."""
    return _KEY.sub("***", text)


def without_key(body: bytes, key: str) -> bytes:
    """The body without a key: as it is, percent-encoded, in Base64, and with `/` as JSON may write it."""
    for form in _forms(key):
        body = body.replace(form, b"***")
    return body


@lru_cache(maxsize=256)
def _forms(key: str) -> tuple[bytes, ...]:
    """The usual forms of a key, the longest first; none of a placeholder."""
    if len(key) < _LEAST_CHARACTERS:
        return ()
    raw = key.encode()
    encoded = b64encode(raw).decode().rstrip("=")
    forms = {key, quote(key, safe=""), quote_plus(key), encoded, encoded.translate(str.maketrans("+/", "-_"))}
    forms |= {form.replace("/", r"\/") for form in forms}
    return tuple(form.encode() for form in sorted(forms, key=len, reverse=True))
