"""What all tests share. Tests wait for a condition with a deadline and never sleep for a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("karma", deadline=None, print_blob=True)
settings.register_profile("quick", deadline=None, print_blob=True, max_examples=30)  # of `make unit`
settings.load_profile("karma")

#: Fixtures that start a server.
SERVERS = {"postgresql_url", "redis_url"}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Commands that run in this process set its umask and silence its logs, as they may in one of their own."""
    umask, disabled = os.umask(0o022), logging.root.manager.disable
    os.umask(umask)
    yield
    os.umask(umask)
    logging.disable(disabled)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Where everything is installed (`KARMA_TEST_NOTHING_SKIPPED`), a skip is a failure."""
    outcome = yield
    _refuse_skip(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    """The same for a module that is skipped as a whole."""
    outcome = yield
    _refuse_skip(outcome.get_result())


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get("KARMA_TEST_NOTHING_SKIPPED") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but nothing may be skipped here: {report.longrepr}"


@pytest.hookimpl(tryfirst=True)  # before `-m` selects and pytest-xdist groups by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they share and need.

    The tests of a module that share a fixture stay in one process: none of them is set up twice. A test that uses a
    database server or a Redis is marked `server`; `make unit` leaves it out.
    """
    for item in items:
        parameters = getattr(item, "callspec", None)
        kinds = parameters.params.values() if parameters else ()
        if SERVERS.intersection(item.fixturenames) or "postgresql" in kinds:
            item.add_marker(pytest.mark.server)
        shared = (
            definition.scope == "module"
            for definitions in item._fixtureinfo.name2fixturedefs.values()
            for definition in definitions
        )
        if any(shared):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
