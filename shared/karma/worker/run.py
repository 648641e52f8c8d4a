"""`python -m karma.run SERVICE [NAMES]`: runs one worker, or the page, without the command line's packages.

`karma worker` does the same if the gateway's extra is installed. NAMES are models (generation) or judges (judging),
separated by commas; @remote is all that call an endpoint, @local all that load a checkpoint. The default is all of the
pool file. With `migration` as SERVICE it migrates the store, and ends.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from karma.config import parts
from karma.config.environment import Environment
from karma.config.home import make_private
from karma.config.pool import Pool
from karma.errors import KarmaError, MissingExtraError, SettingsError
from karma.plugins.registry import backend_kind, judge_kind
from karma.telemetry.escaping import escape_control
from karma.worker.served import Served

#: Migrates the store, and ends.
MIGRATION = "migration"

SERVICES = ("gateway", "generation", "scoring", "matching", "judging", "page")


def run_worker(service: str, names: list[str], environment: Environment) -> None:
    """Run one worker until SIGTERM, or migrate the store.

    Raises:
        SettingsError: there is no such service, model or judge.
        MissingExtraError: the service's extra is not installed.
        NewerSchemaError: a newer version migrated the service's store.
    """
    if service not in (*SERVICES, MIGRATION):
        raise SettingsError(f"no service is called {service!r}; expected one of {', '.join(SERVICES)}")
    make_private(environment.home)
    if service == MIGRATION:
        _migrate(environment)
        return
    # The page belongs to the monitor, not to the pipeline's services.
    is_page = service == "page"
    module, extra = ("karma_monitor.page.server", "gateway") if is_page else (f"karma_{service}.worker", service)
    try:
        main = import_module(module).main
    except ModuleNotFoundError as cause:
        raise MissingExtraError(str(cause.name), extra, f"the service {service}") from cause
    if service in ("gateway", "scoring") and environment.pool_path.exists():
        parts.check_budgets(Pool.read(environment.pool_path))
    if service in ("matching", "scoring") and environment.pool_path.exists():
        (parts.check_policies if service == "matching" else parts.check_embedders)(Pool.read(environment.pool_path))
    if service in ("generation", "judging"):
        main(environment, _served(service, names, environment))
    elif service == "gateway" and find_spec("karma_monitor"):
        main(environment, import_module("karma_monitor.prometheus").LedgerMetrics)
    elif is_page:
        main(environment, import_module("karma_scoring.withdrawal").withdrawal)
    else:
        main(environment)


def _migrate(environment: Environment) -> None:
    from karma.store import Store  # generation and judging are installed without its packages

    store = Store(environment.database)
    store.migrate()
    store.close()


def _served(service: str, names: list[str], environment: Environment) -> Served[Any]:
    """The models or judges to serve, all of the pool file if no names are given."""
    pool = Pool.read(environment.pool_path)
    specs: Mapping[str, Any]
    if service == "generation":
        specs, fingerprints = pool.models, pool.model_fingerprints
        what, local = "models", {name: backend_kind(model.backend).local for name, model in pool.models.items()}
    else:
        specs, fingerprints = pool.judges, pool.judge_fingerprints
        what, local = "judges", {name: judge_kind(judge.kind).local for name, judge in pool.judges.items()}
    names = _selected(names, local)
    for name in names:
        if name not in local:
            raise SettingsError(f"{pool.path}: {what} has no {name!r}; known are: {', '.join(local) or 'none'}")
    if not names:
        raise SettingsError(f"{pool.path}: the pool has no such {what}, so this worker has nothing to serve")
    (parts.check_backends if service == "generation" else parts.check_judges)(pool, names)
    return Served(
        {name: specs[name] for name in names},
        {name: fingerprints[name] for name in names},
        local=any(local[name] for name in names),
        silence_s=pool.pipeline.claim_silence_s,
    )


def _selected(names: list[str], local: Mapping[str, bool]) -> list[str]:
    """The names, where @remote and @local stand for all of a kind, and none for all."""
    kinds = {"@local": True, "@remote": False}
    groups = [[one for one in local if local[one] is kinds[name]] if name in kinds else [name] for name in names]
    return list(dict.fromkeys(name for group in groups for name in group)) if names else list(local)


def main() -> None:
    """The command line."""
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    names = sys.argv[2].split(",") if len(sys.argv) == 3 else []
    try:
        run_worker(sys.argv[1], names, Environment.read())
    except KarmaError as error:
        print(f"karma: {escape_control(str(error), lines=True)}", file=sys.stderr)
        sys.exit(error.exit_code)
