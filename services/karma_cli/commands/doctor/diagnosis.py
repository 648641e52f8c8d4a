"""Why a call failed: the finding that its reason, or a second look at the endpoint, tells."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from karma.errors import did_you_mean
from karma.llm.completions import ChatRequest, body_of, result_of
from karma.llm.key_masking import without_key
from karma.llm.refusals import FailedAttempt, refusal_of
from karma.messages import JudgeSpec, ModelSpec
from karma.telemetry.failure_kinds import kind_of
from karma_cli.commands.doctor.calls import ASKED, CALL_S, endpoint_of
from karma_cli.commands.doctor.exchange import Exchange, endpoint_url, exchange, listed_models
from karma_cli.commands.doctor.findings import Finding, Of, finding

#: Codes of kinds of failures. All but `server_error` are explained by the reason itself.
_BY_KIND: Mapping[str, str] = {
    **{"missing_key": "missing-key", "quota": "quota", "rate_limited": "rate-limited", "timeout": "timeout"},
    **{"empty": "empty-answer", "content_filter": "filtered", "model_refusal": "filtered"},
    **{"unparsable": "verdict-unreadable", "prompt_cut": "does-not-fit", "does_not_fit": "does-not-fit"},
    "server_error": "server-error",
}
_HTML = (b"<!doctype html", b"<html", b"<head", b"<!--")
_LISTED = 5

#: A code, what was read, and the help if the code's own is not enough.
_Diagnosis = tuple[str, str, str | None]


def key_of(spec: ModelSpec) -> str | None:
    """The key of an endpoint, from the variable that the pool file names."""
    return os.environ.get(spec.api_key_env, "").strip() or None if spec.api_key_env else None


def diagnosed(spec: ModelSpec | JudgeSpec, failure: str) -> Finding:
    """The finding of a failed call, by its reason and, where that does not tell, by a second look at the endpoint."""
    of: Of = "model" if isinstance(spec, ModelSpec) else "judge"
    code, read, helps = _by_reason(failure) or _looked_at(spec, failure)
    return finding(code, of, spec.name, read, helps)


def _by_reason(failure: str) -> _Diagnosis | None:
    kind = kind_of(failure)
    if kind == "unfinished":
        return ("answer-cut" if failure.startswith("unfinished answer") else "reasoning-cut"), failure, None
    if kind == "empty" and "raise max_tokens" in failure:
        return "reasoning-cut", failure, None
    return (_BY_KIND[kind], failure, None) if kind in _BY_KIND and kind != "server_error" else None


def _looked_at(spec: ModelSpec | JudgeSpec, failure: str) -> _Diagnosis:
    model = endpoint_of(spec)
    if model is None:
        from karma_monitor.queries.failures import help_for

        return "call-failed", failure, help_for(failure)
    key = key_of(model)
    request = ChatRequest(ASKED, seed=1)
    url = endpoint_url(str(model.base_url), "/chat/completions")
    answer = exchange("POST", url, key, body_of(model, request), min(CALL_S, model.timeout_s))
    answer = Exchange(answer.status, answer.headers, without_key(answer.body, key or ""), answer.fault, answer.said)
    code, read, helps = _of_exchange(model, request, answer, key) or ("call-failed", failure, None)
    return code, read, helps


def _of_exchange(spec: ModelSpec, request: ChatRequest, answer: Exchange, key: str | None) -> _Diagnosis | None:
    """What an exchange tells; None where it succeeded after all."""
    status = answer.status
    if status is None:
        return answer.fault or "dropped", answer.said, None
    if 200 <= status < 300:
        return _of_success(spec, request, answer)
    if 300 <= status < 400:
        target = answer.headers.get("location", "")
        helps = f'base_url = "{target.partition("/chat/completions")[0]}"' if _is_url(target) else None
        return "redirect", f"{status}: it redirects to {target or 'nowhere'}", helps
    return _of_refusal(spec, status, answer, key)


def _of_refusal(spec: ModelSpec, status: int, answer: Exchange, key: str | None) -> _Diagnosis:
    refusal = refusal_of(status, answer.headers, answer.body)
    if status == 401:
        named = f"key in {spec.api_key_env}" if spec.api_key_env else "no api_key_env"
        return ("wrong-key" if spec.api_key_env else "no-key"), f"{refusal.reason} ({named})", None
    if refusal.kind in ("quota", "rate_limited") or status == 403:
        return _BY_KIND.get(refusal.kind, "forbidden"), refusal.reason, None
    if wrong := _wrong_address(spec, status, key) or _unknown_model(spec, refusal, status, key):
        return wrong
    if _is_page(answer) and status < 500:
        return "web-page", f"{status}: a web page: {_begin(answer.body)}", None
    otherwise = "not-found" if status in (404, 405) else "setting-refused"
    return _BY_KIND.get(refusal.kind, otherwise), refusal.reason, None


def _of_success(spec: ModelSpec, request: ChatRequest, answer: Exchange) -> _Diagnosis | None:
    if _is_page(answer):
        return "web-page", f"{answer.status}: a web page: {_begin(answer.body)}", None
    try:
        result = result_of(answer.body, spec, request)
    except FailedAttempt as cause:
        if cause.kind == "refused" and cause.reason.startswith("the answer is no chat completion"):
            return "not-a-completion", cause.reason, None
        return "error-in-200", f"status {answer.status} with an error in it: {cause.reason}", None
    return None if result.failure is None else _by_reason(result.failure)


def _wrong_address(spec: ModelSpec, status: int, key: str | None) -> _Diagnosis | None:
    """A base_url with another path than the API's, where the right one answers."""
    base = str(spec.base_url).partition("?")[0].rstrip("/")
    if base.endswith("/chat/completions"):
        root = base.removesuffix("/chat/completions")
        return "base-url-path", f"{status}: base_url ends with /chat/completions", f'base_url = "{root}"'
    if status not in (404, 405) or base.endswith("/v1"):
        return None
    for better in dict.fromkeys((f"{base}/v1", f"{_origin(base)}/v1")):
        if listed_models(better, key) is not None:
            return "base-url-v1", f"{status} at {base}, and {better} answers", f'base_url = "{better}"'
    return None


def _unknown_model(spec: ModelSpec, refusal: FailedAttempt, status: int, key: str | None) -> _Diagnosis | None:
    """A model that the endpoint does not have, by its list or by its words."""
    known = listed_models(str(spec.base_url), key)
    if known and spec.model not in known:
        near = did_you_mean(spec.model, known)
        if near.startswith(";") and len(known) > _LISTED:
            near = f"; it lists {', '.join(known[:_LISTED])} and {len(known) - _LISTED} more"
        return "unknown-model", f"{status}: the endpoint lists no model {spec.model!r}{near}", None
    words = refusal.reason.lower()
    if status in (400, 404) and "model" in words and ("not" in words or "unknown" in words):
        return "unknown-model", refusal.reason, None
    return None


def _is_page(answer: Exchange) -> bool:
    begin = answer.body.lstrip()[:20].lower()
    return begin.startswith(_HTML) or (answer.headers.get("content-type", "").startswith("text/html") and bool(begin))


def _begin(body: bytes) -> str:
    return " ".join(body[:300].decode("utf-8", "replace").split())[:80]


def _is_url(text: str) -> bool:
    return urlsplit(text).scheme in ("http", "https")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
