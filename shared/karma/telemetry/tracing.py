"""OpenTelemetry traces: a span per batch and stage, and a span per call of a model. All names are defined here.

A dispatched batch begins a trace. Messages carry the trace context in their headers, so all later stages belong to it:
`dispatch` → `process generate.…` → `process score` → `process match` → `process judge.…` → `process learn`. Calls are
`chat {model}` by the conventions for generative AI, which may still change; a verdict is an event
`gen_ai.evaluation.result`. No span contains a text of a prompt, a response, an endpoint or an error.

Without an endpoint in the environment nothing is imported or recorded. OpenTelemetry's own variables configure the
endpoint and the sampling (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, …). The extra `traces` is required.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from karma.errors import MissingExtraError, ReleasedError, SettingsError
from karma.messages import Answer, Batch, JudgeSpec, ModelSpec, Verdict
from karma.telemetry.failure_kinds import kind_of
from karma.telemetry.logging import pairs_of, prompts_of
from karma.verdicts import position

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

#: Most time for the last spans, so that an unavailable collector does not delay the end of a worker.
_FLUSH_S = 3.0

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

#: The label of a verdict event, by the position that the verdict prefers.
_LABELS = {"first": "first", "second": "second", "none": "tie"}

#: Finish reasons that a span may contain; others are an endpoint's own texts.
_FINISHED = ("stop", "length", "content_filter", "tool_calls")

_tracer: Tracer | None = None
_provider: Any = None


def is_asked_for(variables: Mapping[str, str]) -> bool:
    """Whether the environment configures the export of traces.

    Raises:
        SettingsError: it configures another exporter than OTLP over HTTP.
    """
    exporter = variables.get("OTEL_TRACES_EXPORTER", "").strip()
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    if exporter not in ("", "otlp"):
        raise SettingsError(f"environment: OTEL_TRACES_EXPORTER is {exporter!r}, expected 'otlp' or 'none'")
    if not exporter and not any(variables.get(name, "").strip() for name in _ENDPOINTS):
        return False
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if (protocol := variables.get(name, "").strip()) not in ("", "http/protobuf"):
            raise SettingsError(f"environment: {name} is {protocol!r}; KARMA sends traces by 'http/protobuf' only")
    return True


def start(service: str, worker: str) -> None:
    """Trace this process if the environment asks for it.

    Raises:
        SettingsError: the environment configures another exporter than OTLP over HTTP.
        MissingExtraError: the extra `traces` is not installed.
    """
    global _tracer, _provider  # noqa: PLW0603 - a process has one tracer, as it has one root logger
    if not is_asked_for(os.environ):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import IdGenerator
    except ImportError as cause:
        asked = "the endpoint for traces that the environment names (OTEL_EXPORTER_OTLP_ENDPOINT)"
        raise MissingExtraError(str(cause.name), "traces", asked) from cause

    class RandomIds(IdGenerator):
        """Ids that no seed repeats: the library's default uses `random`, which a plug-in may seed."""

        def generate_span_id(self) -> int:
            return secrets.randbits(64) or 1

        def generate_trace_id(self) -> int:
            return secrets.randbits(128) or 1

        def is_trace_id_random(self) -> bool:
            return True

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"karma-{service}"}
    resource = Resource.create({**named, "service.namespace": "karma", "service.instance.id": worker})
    _provider = TracerProvider(resource=resource, id_generator=RandomIds(), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("karma")


def stop() -> None:
    """Export the remaining spans, for a few seconds at most, and stop tracing."""
    global _tracer, _provider
    if _provider is None:
        return
    last = threading.Thread(target=_provider.shutdown, name="last spans", daemon=True)
    last.start()
    last.join(_FLUSH_S)
    _tracer, _provider = None, None


@contextmanager
def sending(sender: str, batches: int) -> Iterator[dict[str, str]]:
    """The trace context of batches sent within the block: that of the current span, or else of a new trace."""
    if _tracer is None or (context := carried()):
        yield {} if _tracer is None else context
        return
    attributes = {"messaging.operation.type": "send", "messaging.batch.message_count": batches}
    with _span(_tracer, sender, "PRODUCER", attributes):
        yield carried()


@contextmanager
def processing(stage: str, queue: str, batch: Batch, waited_s: float | None) -> Iterator[None]:
    """A span for a stage's work on a batch, in the trace of its message."""
    if _tracer is None:
        yield
        return
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    attributes: dict[str, Any] = {
        "messaging.system": "redis",
        "messaging.operation.type": "process",
        "messaging.destination.name": queue,
        "messaging.batch.message_count": len(batch.items),
        "karma.stage": stage,
        "karma.stream": batch.header.stream,
        "karma.batch": batch.header.batch,
        "karma.part": batch.header.part,
        "karma.prompts": prompts_of(batch),
        "karma.pairs": pairs_of(batch),
    }
    if waited_s is not None:
        attributes["karma.waited_s"] = waited_s
    context = TraceContextTextMapPropagator().extract(batch.header.trace, Context())
    with _span(_tracer, f"process {queue}", "CONSUMER", attributes, context):
        yield


def carried() -> dict[str, str]:
    """The W3C trace context of the current span, for a message's header; empty if nothing is traced."""
    context: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(context)
    return context


def calls(spec: ModelSpec | JudgeSpec, results: Batch) -> None:
    """Record the calls of a model behind new results of a model or judge, and the verdicts among them."""
    if _tracer is None:
        return
    from opentelemetry.trace import get_current_span

    parent = get_current_span()
    if not parent.is_recording():
        return
    for result in results.items:
        _call(_tracer, parent, spec if isinstance(spec, ModelSpec) else spec.model, result)


def _call(tracer: Tracer, parent: Any, spec: ModelSpec | None, result: Any) -> None:
    """Record one call as a span, with the latency that the caller measured. A judge without a model makes no call."""
    if spec is None:
        _verdict(parent, result)
        return
    from opentelemetry.trace import SpanKind, StatusCode

    now_ns = time.time_ns()
    latency_s: float | None = result.latency_s
    span = tracer.start_span(
        f"chat {spec.model}",
        kind=SpanKind.CLIENT,
        attributes=_attributes(spec, result),
        start_time=parent.start_time if latency_s is None else now_ns - round(latency_s * 1e9),
    )
    if result.failure is not None:
        span.set_attribute("error.type", kind_of(result.failure))
        span.set_status(StatusCode.ERROR)
    if isinstance(result, Verdict):
        _verdict(span, result)
    span.end(now_ns)


def _attributes(spec: ModelSpec, result: Answer | Verdict) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": spec.backend,
        "gen_ai.request.model": spec.model,
        "karma.prompt": result.prompt,
    }
    sampling = {"temperature": spec.temperature, "top_p": spec.top_p, "max_tokens": spec.max_tokens}
    attributes |= {f"gen_ai.request.{name}": value for name, value in sampling.items() if value != "default"}
    with suppress(ValueError):  # an invalid URL has no server
        url = urlsplit(spec.base_url or "")
        if url.hostname:
            attributes["server.address"] = url.hostname
        if url.port:
            attributes["server.port"] = url.port
    if result.tokens_in is not None:
        attributes["gen_ai.usage.input_tokens"] = result.tokens_in
    if result.tokens_out is not None:
        attributes["gen_ai.usage.output_tokens"] = result.tokens_out
    if isinstance(result, Answer):
        attributes["karma.model"] = result.model
        if result.finish_reason in _FINISHED:
            attributes["gen_ai.response.finish_reasons"] = [result.finish_reason]
    return attributes


def _verdict(span: Span, verdict: Verdict) -> None:
    attributes: dict[str, Any] = {
        "gen_ai.evaluation.name": verdict.judge,
        "karma.prompt": verdict.prompt,
        "karma.pair": verdict.pair,
        "karma.order": verdict.order,
    }
    if verdict.probability is not None:
        p = verdict.probability
        attributes["gen_ai.evaluation.score.value"] = p
        # Without a tie margin: a stream has its own, which this process does not know.
        attributes["gen_ai.evaluation.score.label"] = _LABELS[position(p, tie_margin=0.0)]
    if verdict.failure is not None:
        attributes["error.type"] = kind_of(verdict.failure)
    span.add_event("gen_ai.evaluation.result", attributes)


@contextmanager
def _span(tracer: Tracer, name: str, kind: str, attributes: dict[str, Any], context: Any = None) -> Iterator[None]:
    """A span around the block that records how it ended, without the text of an exception: it may quote a prompt."""
    from opentelemetry.trace import SpanKind, StatusCode

    with tracer.start_as_current_span(
        name, context, SpanKind[kind], attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except ReleasedError:
            span.set_attribute("karma.result", "handed_back")  # released: no failure
            raise
        except Exception as cause:
            span.set_attribute("error.type", f"{type(cause).__module__}.{type(cause).__qualname__}")
            span.set_status(StatusCode.ERROR)
            raise
