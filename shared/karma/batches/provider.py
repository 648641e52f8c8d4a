"""The files and batches endpoints of one provider: upload, create, list, look, download."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from karma.llm.event_stream import decoded
from karma.llm.key_masking import mask, without_key
from karma.llm.refusals import FailedAttempt, refusal_of
from karma.messages import ModelSpec
from karma.messages.results import storable

if TYPE_CHECKING:
    import aiohttp

#: The metadata of jobs that KARMA created: this key has the model's name.
MARK = "karma_model"

#: States in which a job changes no more.
ENDED = ("completed", "failed", "expired", "cancelled")

_FILE_BYTES = 512 << 20
_PAGE = 100
_SHOWN_CHARACTERS = 200
_CONNECT_S = 10.0


@dataclass(frozen=True)
class Job:
    """A job as the provider describes it."""

    id: str
    state: str
    created_at: float  # seconds since 1970, by the provider
    metadata: Mapping[str, Any]
    input_file: str | None
    output_file: str | None
    error_file: str | None
    error: str | None  # of a job that failed as a whole

    @property
    def ended(self) -> bool:
        """Whether its results are all there will be."""
        return self.state in ENDED


class Provider:
    """Calls the files and batches endpoints of a model's provider with an open session.

    Raises, from every method:
        FailedAttempt: the provider refused, or could not be reached; its text has no key.
    """

    def __init__(self, spec: ModelSpec, session: aiohttp.ClientSession) -> None:
        self._spec = spec
        self._session = session
        self._base, query, options = (spec.base_url or "").partition("?")
        self._options = f"{query}{options}"

    async def upload(self, lines: Sequence[bytes]) -> str:
        """Upload a file of requests; returns its id."""
        import aiohttp

        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", b"\n".join(lines), filename="requests.jsonl", content_type="application/jsonl")
        return _text_of(await self._json("POST", "/files", data=form), "id")

    async def create(self, input_file: str, metadata: Mapping[str, str]) -> Job:
        """Create a job of an uploaded file."""
        body = {
            "input_file_id": input_file,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": dict(metadata),
        }
        return _job(await self._json("POST", "/batches", json=body))

    async def job(self, id_: str) -> Job:
        """A job as it is now."""
        return _job(await self._json("GET", f"/batches/{id_}"))

    async def jobs(self, since: float) -> AsyncIterator[Job]:
        """KARMA's jobs of this model, newest first, back to a moment (seconds since 1970)."""
        after = None
        while True:
            query = {"limit": str(_PAGE)} | ({"after": after} if after else {})
            page = await self._json("GET", "/batches", params=query)
            listed = [_job(each) for each in page.get("data") or () if isinstance(each, dict)]
            for job in listed:
                if job.created_at >= since and job.metadata.get(MARK) == self._spec.name:
                    yield job
            if not listed or not page.get("has_more") or listed[-1].created_at < since:
                return
            after = listed[-1].id

    async def lines(self, file: str | None) -> list[dict[str, Any]]:
        """The JSON lines of a file; none without a file. A line that cannot be read is left out."""
        if file is None:
            return []
        read = [decoded(line) for line in (await self._call("GET", f"/files/{file}/content")).splitlines() if line]
        return [line for line in read if isinstance(line, dict)]

    async def _json(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        said = decoded(await self._call(method, path, **how))
        if not isinstance(said, dict):
            raise FailedAttempt("server_error", "the batches endpoint gave no JSON object", retry=True)
        return said

    async def _call(self, method: str, path: str, **how: Any) -> bytes:
        import aiohttp

        spec = self._spec
        key = os.environ.get(spec.api_key_env, "").strip() if spec.api_key_env else ""
        if spec.api_key_env and not key:
            reason = f"the environment variable {spec.api_key_env} (api_key_env of {spec.name}) is not set here"
            raise FailedAttempt("missing_key", reason, retry=False)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(total=spec.timeout_s, sock_connect=min(_CONNECT_S, spec.timeout_s))
        url = f"{self._base.rstrip('/')}{path}{self._options}"
        try:
            async with self._session.request(
                method, url, headers=headers, timeout=timeout, allow_redirects=False, **how
            ) as response:
                said = bytearray()
                async for part in response.content.iter_any():
                    said += part
                    if len(said) > _FILE_BYTES:
                        raise FailedAttempt("too_large", "a file of results is larger than 512 MiB", retry=False)
                answer = without_key(bytes(said), key)
                if 200 <= response.status < 300:
                    return answer
                raise refusal_of(response.status, response.headers, answer)
        except TimeoutError as cause:
            raise FailedAttempt("timeout", f"timed out after {spec.timeout_s:g} s", retry=True) from cause
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as cause:
            raise FailedAttempt("refused", f"base_url of {spec.name} is no URL of an endpoint", retry=False) from cause
        except (aiohttp.ClientError, OSError) as cause:
            raise FailedAttempt("connection", f"connection dropped: {type(cause).__name__}", retry=True) from cause


def _text_of(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    # It becomes part of a path: an id with a slash would be another path.
    if not isinstance(value, str) or not value.replace("-", "").replace("_", "").isalnum():
        raise FailedAttempt("server_error", f"the batches endpoint gave no {name}", retry=True)
    return value


def _job(said: Mapping[str, Any]) -> Job:
    metadata, created_at, errors = said.get("metadata"), said.get("created_at"), said.get("errors")
    listed = errors.get("data") if isinstance(errors, dict) else None
    words = [str(one.get("message")) for one in listed or () if isinstance(one, dict)]
    files = {name: _text_of(said, name) if said.get(name) else None for name in _FILES}
    return Job(
        id=_text_of(said, "id"),
        state=str(said.get("status")),
        created_at=float(created_at) if isinstance(created_at, int | float) else 0.0,
        metadata=metadata if isinstance(metadata, dict) else {},
        input_file=files["input_file_id"],
        output_file=files["output_file_id"],
        error_file=files["error_file_id"],
        error=storable(mask(" ".join(words))[:_SHOWN_CHARACTERS]) if words else None,
    )


_FILES = ("input_file_id", "output_file_id", "error_file_id")
