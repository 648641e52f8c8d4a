"""The environment of a process that `karma up` starts: what it needs, and nothing else.

Keys of endpoints go only to the workers that call them, the address of the database only where there is a store, and
the signing key only to processes that read and write the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from karma.config.environment import SECRETS, Environment
from karma.config.pool import Pool
from karma.config.redis_address import ADMIN, USERS, password_variable
from karma.messages.signing import channels_of

#: Variables of the system and of libraries that hold no secret, by their names.
_PLAIN = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|TZ|TMPDIR|TEMP|TMP|LANG|LANGUAGE|LC_\w+|PWD|VIRTUAL_ENV|HOSTNAME|"
    r"LD_LIBRARY_PATH|LD_PRELOAD|DYLD_LIBRARY_PATH|FAKETIME\w*|DONT_FAKE_MONOTONIC|SYSTEMROOT|"
    r"PYTHON\w*|COVERAGE_\w+|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|"
    r"OMP_\w+|MKL_\w+|OPENBLAS_\w+|NUMEXPR_\w+|TOKENIZERS_PARALLELISM|"
    r"CUDA_\w+|NVIDIA_\w+|ROCR_\w+|HIP_\w+|PYTORCH_\w+|TORCH\w*|XDG_\w+|NO_COLOR|FORCE_COLOR"
)
#: Variables that may hold a secret, and that every process needs which opens connections to other machines.
_NETWORK = re.compile(r"(https?|all|no)_proxy|OTEL_\w+", re.IGNORECASE)
#: Of the model hub, for processes that load a checkpoint.
_HUB = re.compile(r"HF_\w+|HUGGING\w+|TRANSFORMERS_\w+|SENTENCE_TRANSFORMERS_\w+")

#: The supervisor gives each process an URL that has both.
_REDIS = ("KARMA_REDIS_USER", *map(password_variable, (*USERS, ADMIN)))

#: Settings of KARMA's that are not passed on as they are.
_SECRETS = {*SECRETS, *(f"{name}_FILE" for name in SECRETS), "KARMA_DATABASE_URL", "KARMA_REDIS_URL", *_REDIS}

_ASKING = ("generation", "judging")
_LOADING = (*_ASKING, "scoring")


def open_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that hold no secret, for the process that the workers are forked from."""
    return {
        name: value
        for name, value in variables.items()
        if _PLAIN.fullmatch(name) or (name.startswith("KARMA_") and name not in _SECRETS)
    }


def child_environment(
    variables: Mapping[str, str], environment: Environment, pool: Pool, arguments: Sequence[str]
) -> dict[str, str]:
    """The variables of a worker with these arguments of `karma.run`, taken from `variables`.

    The addresses and identities that the supervisor itself gives are added by it.
    """
    service, names = arguments[0], arguments[1].split(",") if len(arguments) > 1 else []
    wanted = set(pool.pipeline.pass_environment)
    asks = service in _ASKING
    if asks:
        wanted |= key_variables(pool, service, names)
    kept = {
        name: value
        for name, value in variables.items()
        if name in wanted or _NETWORK.fullmatch(name) or (service in _LOADING and _HUB.fullmatch(name))
    }
    kept |= open_environment(variables)
    keys = environment.keyring()
    if asks:
        kept["KARMA_SIGNING_KEYS"] = keys.export(channels_of(service, names))
    else:
        kept["KARMA_DATABASE_URL"] = environment.database_url
        if environment.database_password is not None:
            kept["KARMA_DATABASE_PASSWORD"] = environment.database_password
        if environment.signing_key is not None and service not in ("page", "migration"):  # they send no messages
            kept["KARMA_SIGNING_KEY"] = environment.signing_key
    return kept


def key_variables(pool: Pool, service: str, names: Sequence[str]) -> set[str]:
    """The variables that hold the keys of a worker's endpoints."""
    if service == "generation":
        specs = [pool.models[name] for name in names]
    else:
        specs = [spec for name in names if (spec := pool.judges[name].model) is not None]
    return {spec.api_key_env for spec in specs if spec.api_key_env}
