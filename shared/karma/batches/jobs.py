"""The calls of one model: gathered, put into jobs, followed, and asked again where a job did not answer them.

Before a job is created, the provider's list is read: a request that is in a job already is waited for there. So a
worker that takes over continues what another one began, and no request is in two jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from karma.batches.open_jobs import OpenJobs, note
from karma.batches.provider import MARK, Job, Provider
from karma.lease import Lease, LeaseState
from karma.llm.call_metrics import observe_call
from karma.llm.completions import ChatRequest, ChatResult, body_of, result_of
from karma.llm.refusals import FailedAttempt, refusal_of
from karma.llm.result_groups import Results
from karma.messages import ModelSpec

log = logging.getLogger(__name__)

_FIRST_POLL_S = 1.0  # doubled up to `batch_poll_s`
_NAP_S = 0.5  # longest part of a wait; then the leases are asked again
_LOOK_BACK_S = 3 * 86_400.0  # age of the oldest jobs that are looked at: three times the longest that one takes
_MISSING_KEY_S = 10.0  # after which another worker gets requests that this one has no key for
_GONE = "404"
_MOST_BYTES = 100 << 20  # of one file of requests


def custom_id(spec: ModelSpec, request: ChatRequest) -> str:
    """What a request is known by: a hash of all that is asked, the seed included."""
    asked = (spec.name, body_of(spec, request), request.seed)
    return blake2b(msgspec.json.encode(asked), digest_size=20).hexdigest()


@dataclass(eq=False)
class Call:
    """One request that waits for its result."""

    id: str
    index: int
    request: ChatRequest
    lease: Lease
    arrivals: Results
    begun: float = field(default_factory=time.monotonic)
    attempts: int = 0
    done: bool = False
    seen: set[str] = field(default_factory=set)  # jobs that ended without a result for it
    own: set[str] = field(default_factory=set)  # jobs that it was put into here

    def deliver(self, result: ChatResult | None) -> None:
        """Hand out the result; None: the call was left to another worker."""
        if not self.done:
            self.done = True
            self.arrivals.put(self.index, result)


class Lane:
    """The calls of one model: those that wait to be put into a job, and those of each job."""

    def __init__(self, spec: ModelSpec, provider: Provider) -> None:
        self._spec = spec
        self._provider = provider
        self._queue: list[Call] = []
        self._jobs: dict[str, list[Call]] = {}  # followed here
        self._members: dict[str, frozenset[str]] = {}  # job → the requests that it was created with
        self._gathering: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, calls: Iterable[Call]) -> None:
        """Take calls; they are put into jobs after `batch_wait_s`."""
        self._queue.extend(calls)
        self._note()
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.ensure_future(self._gather())

    def _note(self) -> None:
        followed = sum(len(calls) for calls in self._jobs.values())
        note(OpenJobs(self._spec.name, len(self._jobs), followed, len(self._queue)))

    async def _gather(self) -> None:
        wait_s = _FIRST_POLL_S
        while self._queue:
            await asyncio.sleep(self._spec.batch_wait_s)
            calls, self._queue = self._queue, []
            try:
                await self._place(calls)
                self._note()
                continue
            except FailedAttempt as cause:
                failed = cause
            except Exception as cause:  # its text may contain a header, and so the key
                failed = FailedAttempt("refused", f"no job can be created: {type(cause).__name__}", retry=False)
            placed = {call.id for held in [*self._jobs.values(), self._queue] for call in held}
            left = [call for call in calls if not call.done and call.id not in placed]
            if failed.kind == "missing_key":  # another worker may have it
                await asyncio.sleep(_MISSING_KEY_S)
                for call in left:
                    call.deliver(None)
                continue
            if not failed.retry:  # but what passes for every request, such as a spent quota, is waited for
                oldest = time.monotonic() - (self._spec.outage_wait_s if failed.of_endpoint else 0.0)
                for call in left:
                    if call.begun <= oldest:
                        self._end(call, ChatResult(failure=failed.reason, kind=failed.kind))
                left = [call for call in left if not call.done]
            log.warning("no batch job of %s can be created now: %s", self._spec.name, failed.kind)
            self._queue.extend(left)
            self._note()
            await asyncio.sleep(failed.wait_s or wait_s)
            self._queue = _still_wanted(self._queue)
            wait_s = min(2 * wait_s, max(wait_s, self._spec.batch_poll_s))

    async def _place(self, calls: list[Call]) -> None:
        """Put calls into the jobs that hold their requests, and the others into new ones."""
        open_: dict[str, list[Call]] = defaultdict(list)
        for call in _still_wanted(calls):
            open_[call.id].append(call)
        async for job in self._provider.jobs(time.time() - _LOOK_BACK_S):
            if not open_:
                return
            if job.state == "failed":
                continue
            if job.id not in self._members:
                self._members[job.id] = await self._requests_of(job)
            for id_ in self._members[job.id] & open_.keys():
                if mine := [call for call in open_[id_] if job.id not in call.seen]:
                    self._follow(job, mine)
                    open_[id_] = [call for call in open_[id_] if call not in mine]
                    if not open_[id_]:
                        del open_[id_]
        while open_:
            await self._create(open_)

    async def _requests_of(self, job: Job) -> frozenset[str]:
        """The requests that a job was created with; none of an ended one whose files are deleted."""
        try:
            listed = await self._provider.lines(job.input_file)
        except FailedAttempt as cause:
            if not (job.ended and cause.reason.startswith(_GONE)):
                raise
            listed = []
        return frozenset(str(line.get("custom_id")) for line in listed)

    async def _create(self, open_: dict[str, list[Call]]) -> None:
        """Create one job of as many requests as it may have, and take them out of `open_`."""
        spec, lines, size = self._spec, dict[str, bytes](), 0
        for id_, calls in open_.items():
            url = "/v1/chat/completions"
            body = msgspec.Raw(body_of(spec, calls[0].request))
            line = msgspec.json.encode({"custom_id": id_, "method": "POST", "url": url, "body": body})
            size += len(line)
            if lines and (len(lines) >= spec.batch_requests or size > _MOST_BYTES):
                break
            lines[id_] = line
        file = await self._provider.upload(list(lines.values()))
        # A worker that was frozen must not create a job of what another one has by now.
        while "wait" in (states := _states(call for id_ in lines for call in open_[id_])) and "stop" not in states:
            await asyncio.sleep(_NAP_S)
        if "stop" in states:
            for id_ in lines:
                open_[id_] = _still_wanted(open_[id_])
                if not open_[id_]:
                    del open_[id_]
            return
        job = await self._provider.create(file, {MARK: spec.name})
        log.info("batch job %s of %s: %d requests", job.id, spec.name, len(lines))
        self._members[job.id] = frozenset(lines)
        for id_ in lines:
            calls = open_.pop(id_)
            for call in calls:
                call.own.add(job.id)
            self._follow(job, calls)

    def _follow(self, job: Job, calls: Iterable[Call]) -> None:
        if job.id in self._jobs:
            self._jobs[job.id].extend(calls)
            return
        self._jobs[job.id] = list(calls)
        task = asyncio.ensure_future(self._poll(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _poll(self, job: Job) -> None:
        """Wait for a job's end, and hand out its results; what it did not answer is asked again."""
        wait_s = _FIRST_POLL_S
        results: dict[str, dict[str, Any]] | None = None
        await asyncio.sleep(0)  # calls of the same job may follow
        while results is None:
            self._jobs[job.id] = _still_wanted(self._jobs[job.id])
            if not self._jobs[job.id]:
                del self._jobs[job.id]
                self._note()
                return
            try:
                if job.ended:
                    found = await self._provider.lines(job.error_file) + await self._provider.lines(job.output_file)
                    results = {str(line.get("custom_id")): line for line in found}
                    continue
                await self._nap(job, wait_s)
                job = await self._provider.job(job.id)
            except FailedAttempt as cause:
                if cause.reason.startswith(_GONE):  # the job or its files were deleted
                    results = {}
                    continue
                log.warning("batch job %s cannot be read now: %s", job.id, cause.kind)
                await self._nap(job, wait_s)
            except Exception as cause:
                log.warning("batch job %s cannot be read now: %s", job.id, type(cause).__name__)
                await self._nap(job, wait_s)
            wait_s = min(2 * wait_s, self._spec.batch_poll_s)
        log.info("batch job %s of %s: %s, %d results", job.id, self._spec.name, job.state, len(results))
        again = [call for call in self._jobs.pop(job.id) if not self._settle(call, job, results.get(call.id))]
        self._note()
        if again:
            self.add(again)

    async def _nap(self, job: Job, wait_s: float) -> None:
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            self._jobs[job.id] = _still_wanted(self._jobs[job.id])
            if not self._jobs[job.id]:
                return
            await asyncio.sleep(min(left_s, _NAP_S))

    def _settle(self, call: Call, job: Job, line: dict[str, Any] | None) -> bool:
        """Deliver the result of a call; False if it is to be asked again."""
        try:
            result = _result(line, self._spec, call.request, job)
        except FailedAttempt as cause:
            failed, usage = cause, cause.usage
        else:
            # A failure of an earlier attempt at this item is no reason not to ask now.
            if result.failure is None or job.id in call.own:
                self._end(call, result)
                return True
            call.seen.add(job.id)
            return False
        call.seen.add(job.id)
        if job.id not in call.own:
            return False
        call.attempts += 1
        if not failed.retry or call.attempts > self._spec.max_retries:
            self._end(call, ChatResult(failure=failed.reason, kind=failed.kind, **usage._asdict()))
            return True
        return False

    def _end(self, call: Call, result: ChatResult) -> None:
        latency_s = time.monotonic() - call.begun
        done = replace(result, latency_s=latency_s)
        observe_call("openai", self._spec.model, None, done.tokens_in, done.tokens_out, done.kind)
        call.deliver(done)


def _states(calls: Iterable[Call]) -> set[LeaseState]:
    return {leased() for leased in {call.lease for call in calls}}


def _still_wanted(calls: list[Call]) -> list[Call]:
    """The calls whose lease has not ended; the others are told that they did not begin."""
    states = {leased: leased() for leased in {call.lease for call in calls}}
    wanted = []
    for call in calls:
        if states[call.lease] == "stop":
            call.deliver(None)
        else:
            wanted.append(call)
    return wanted


def _result(line: dict[str, Any] | None, spec: ModelSpec, request: ChatRequest, job: Job) -> ChatResult:
    """The result in a line of a job's files.

    Raises:
        FailedAttempt: the request was not answered.
    """
    if line is None:
        ended = f"the batch job {job.state}" + (f": {job.error}" if job.error else "")
        raise FailedAttempt("server_error", f"{ended}; it has no result for the request", retry=True)
    response = line.get("response")
    if not isinstance(response, dict) or not isinstance(response.get("body"), dict):
        error = line.get("error")
        words = str(error.get("code")) if isinstance(error, dict) else "no response"
        raise FailedAttempt("server_error", f"the batch job did not answer: {words[:100]}", retry=True)
    body, status = msgspec.json.encode(response["body"]), response.get("status_code")
    if isinstance(status, int) and not 200 <= status < 300:
        raise refusal_of(status, {}, body)
    return result_of(body, spec, request)
