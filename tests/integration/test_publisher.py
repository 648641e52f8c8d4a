"""Publishing to a real Redis."""

from __future__ import annotations

from typing import Any

from karma.messages import GenerateBatch, GenerateItem, Header, Turn
from karma.messages.lanes import new_batch_id
from karma.messages.wire import decode
from karma.queue.backlog import priority_list
from karma.queue.celery_app import Publisher
from karma.queue.entries import read_entry

_MIB = 1 << 20


def long_message(number: int, size: int) -> GenerateBatch:
    turns = (Turn("user", f"{number:03d}" + "x" * size),)
    header = Header(stream="s", batch=new_batch_id(), token="t")
    return GenerateBatch(header=header, model="m", specification="f", items=(GenerateItem(1, 1, 0, 0, turns),))


def test_a_call_with_many_long_messages_takes_little_more_memory_than_the_messages(redis: Any) -> None:
    """Redis holds a command as a whole before it runs it, so that 24 MB in one would need more."""
    messages = [long_message(number, _MIB // 8) for number in range(192)]
    redis.config_resetstat()
    before = redis.info("memory")["used_memory"]
    Publisher(redis).publish(messages)
    memory = redis.info("memory")
    kept = memory["used_memory"] - before
    assert kept > 24 * _MIB
    assert memory["used_memory_peak"] - before < kept + 3 * _MIB
    entries = redis.lrange(priority_list("generate.m", 0), 0, -1)
    published = [decode(read_entry(entry).sealed) for entry in reversed(entries)]
    assert [message.header.batch for message in published] == [message.header.batch for message in messages]


def test_a_message_longer_than_a_command_goes_alone(redis: Any) -> None:
    messages = [long_message(0, 10), long_message(1, 2 * _MIB), long_message(2, 10)]
    Publisher(redis).publish(messages)
    assert redis.llen(priority_list("generate.m", 0)) == 3
