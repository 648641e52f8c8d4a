"""The templates that judges are asked by are kept once a version, before the first question."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from karma.config.judge_templates import Template, template_hash
from karma.errors import OutageError
from karma.messages import Batch, GenerateBatch, JudgeBatch, JudgeSpec
from karma.messages.signing import UNSIGNED
from karma.queue.outbox import Outbox
from karma.queue.redis import current_incarnation
from karma.store import Store
from karma.store.schema import judge_templates
from karma.store.template_archive import TemplateArchive, kept
from tests.support.memory import ENDPOINT, Flow, make_pool

OWN = JudgeSpec(
    name="j", kind="openai", template="own.jinja", template_text="{{ first }} Ünlü", criteria={"wit": "It makes puns."}
)
TEXT = "{{ fence }}{{ first }}{{ fence }}{{ second }}{{ fence }}"


def all_kept(store: Store) -> dict[str, Template]:
    with store.reading() as transaction:
        hashes = transaction.ledger.connection.execute(judge_templates.select()).scalars().all()
        return kept(transaction.ledger.connection, hashes)


def test_each_version_is_kept_once_in_both_of_its_forms(store: Store) -> None:
    archive, another = TemplateArchive(store), TemplateArchive(store)
    for _turn in range(2):
        archive.keep([OWN])
        another.keep([OWN])
    edited = replace(OWN, template_text=f"{OWN.template_text}!")
    archive.keep([edited])

    found = all_kept(store)

    for brief in (False, True):
        assert found[template_hash(OWN, brief)] == Template("own.jinja", "{{ first }} Ünlü", {"wit": "It makes puns."})
    assert found[template_hash(edited)].text == "{{ first }} Ünlü!"
    assert len(found) == 4


@pytest.mark.parametrize("kind", ["likelihood", "reward", "verifier", "prior"])
def test_a_judge_that_no_template_asks_has_none(store: Store, kind: str) -> None:
    TemplateArchive(store).keep([JudgeSpec(name="j", kind=kind)])

    assert all_kept(store) == {}


class Queue:
    """What the outbox publishes to: notes what was kept by then, and fails on demand."""

    keyring = UNSIGNED

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seen: list[set[str]] = []
        self.fails = False

    def publish(self, messages: Sequence[Batch]) -> None:
        if any(isinstance(message, JudgeBatch) for message in messages):
            self.seen.append({template.name for template in all_kept(self._store).values()})
            if self.fails:
                raise OutageError("no queue")


def test_the_outbox_keeps_a_template_before_it_publishes_the_first_question(store: Store, redis: Any) -> None:
    """So a verdict never comes before its template, wherever a process dies between the two."""
    table = {"kind": "openai", "template": "own.jinja", "template_text": TEXT, "model": {**ENDPOINT, "model": "j"}}
    flow = Flow(store, make_pool("ab", judges={"j": table}))
    flow.accept({"prompt": "p"})
    flow.dispatcher.admit()
    waiting: list[str] = []
    while flow.sent:
        sent = list(flow.sent)
        for batch in flow.messages():
            if isinstance(batch, JudgeBatch):
                waiting = sent
            else:
                flow.handle(flow.answer(batch) if isinstance(batch, GenerateBatch) else batch)
    queue = Queue(store)
    outbox = Outbox("test", store, flow.pool, queue, partial(current_incarnation, redis), store.clock)  # type: ignore[arg-type]
    assert all_kept(store) == {}
    queue.fails = True
    with pytest.raises(OutageError):
        outbox.send(waiting)
    queue.fails = False
    outbox.send(waiting)

    assert queue.seen == [{"own.jinja"}, {"own.jinja"}]
