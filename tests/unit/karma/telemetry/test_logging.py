"""Lines of logs: one event each, with what it is about, and never a text that is not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.errors import MessageError
from karma.messages.wire import decode
from karma.telemetry.redaction import OWN_PACKAGES, _escaped
from karma.worker.run import SERVICES
from tests.support import needs

ROOT = Path(__file__).parents[4]

#: What no line may hold.
SECRET = "quagga-94c1"

#: A process with logs as a worker has them, and a batch of two prompts that is about one pair.
PREAMBLE = """
import logging, sys
from karma.errors import KarmaError
from karma.telemetry.logging import bound, configure_logging, name_process
from karma.messages import Header, JudgeBatch, JudgeItem
SECRET = "quagga-94c1"
def judged(item, prompt, order):
    return JudgeItem(item=item, pair=7, prompt=prompt, order=order, seed=0, messages=(), first=SECRET, second=SECRET)
def batch(stream="s"):
    header = Header(stream=stream, batch="b1", token="t")
    return JudgeBatch(header=header, judge="j", specification="f", items=(judged(1, 11, 0), judged(2, 12, 1)))
log = logging.getLogger("karma.stage")
"""


def run(code: str, form: str = "json", level: str = "DEBUG", stderr: Any = subprocess.PIPE) -> str:
    """What a process wrote to stderr; it may end by an error."""
    script = f"{PREAMBLE}\nconfigure_logging({level!r}, {form!r})\nname_process('judging', 'judging-1')\n{code}"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'shared'}", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", script], stderr=stderr, env=environment, check=False, timeout=60)
    return (done.stderr or b"").decode()


def lines(code: str, level: str = "DEBUG") -> list[dict[str, Any]]:
    """The lines that a process wrote, each a JSON object."""
    return [json.loads(line) for line in run(code, level=level).splitlines()]


def test_a_line_says_when_how_serious_who_and_what() -> None:
    (line,) = lines("log.info('hello %s', 'there')")
    assert list(line) == ["timestamp", "level", "logger", "event", "service", "worker"]
    assert line["timestamp"].endswith("Z")
    expected = ["info", "karma.stage", "hello there", "judging", "judging-1"]
    assert list(line.values())[1:] == expected


def test_lines_around_a_batch_name_it_and_what_it_is_about_and_others_do_not() -> None:
    inside, in_a_thread, after = lines(
        "import asyncio, threading\n"
        "async def task(): log.info('in a task')\n"
        "with bound('judge', batch()):\n"
        "    log.info('inside')\n"
        "    asyncio.run(task())\n"
        "log.info('after')"
    )
    about = {"stage": "judge", "stream": "s", "batch": "b1", "prompts": [11, 12], "pairs": [7]}
    assert about.items() <= inside.items()
    assert about.items() <= in_a_thread.items()
    assert not about.keys() & after.keys()


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_character_of_an_id_or_an_error_begins_a_line_or_steers_the_terminal(form: str) -> None:
    evil = r'"s\n{\"level\": \"forged\"}\r\x1b[31m\x9b2J\u202e\u2028\ud800"'
    written = run(
        f"evil = {evil}\n"
        "with bound('judge', batch(evil)):\n"
        "    try: raise KarmaError(evil)\n"
        "    except KarmaError as error: log.error('failed: %s', error, exc_info=form == 'json')\n".replace(
            "form == 'json'", str(form == "json")
        ),
        form,
    )
    assert written.endswith("\n")
    assert len(written.splitlines()) == 1, written
    assert written[:-1].isprintable()
    assert "forged" in written, "it is shown, as text"


def test_an_exception_is_its_classes_and_places_and_only_our_own_words() -> None:
    (line,) = lines(
        "def inner(text): return {}[text]\n"
        "try:\n"
        "    try: inner(SECRET)\n"
        "    except KeyError as cause: raise KarmaError('no answer; look at the endpoint') from cause\n"
        "except KarmaError: log.exception('failed')"
    )
    ours, theirs = line["exception"]
    assert (ours["type"], ours["message"]) == ("karma.errors.KarmaError", "no answer; look at the endpoint")
    assert theirs["type"] == "KeyError"
    assert "message" not in theirs
    assert [frame.rpartition(" ")[2] for frame in theirs["frames"]] == ["<module>", "inner"]


def test_an_error_within_a_line_is_named_by_its_class_unless_it_is_ours() -> None:
    first, second = lines("log.warning('%s', ValueError(SECRET))\nlog.warning('%s', KarmaError('look there'))")
    assert (first["event"], second["event"]) == ("<ValueError>", "look there")


def test_the_errors_of_a_group_are_all_there() -> None:
    (line,) = lines(
        "try: raise ExceptionGroup(SECRET, [ValueError(SECRET), FileNotFoundError(2, SECRET)])\n"
        "except ExceptionGroup: log.exception('failed')"
    )
    (group,) = line["exception"]
    assert [[one["type"] for one in chain] for chain in group["exceptions"]] == [["ValueError"], ["FileNotFoundError"]]
    assert SECRET not in json.dumps(line)


def test_a_system_error_says_what_the_system_said() -> None:
    (line,) = lines("try: open('/nowhere/' + SECRET)\nexcept OSError: log.exception('failed')")
    assert line["exception"][0]["message"] == "No such file or directory"
    assert SECRET not in json.dumps(line)


def test_of_a_librarys_line_the_first_one_is_kept_with_its_numbers_and_nothing_else() -> None:
    first, second, third, fourth = lines(
        "library = logging.getLogger('celery.worker')\n"
        "library.error(f'Got {SECRET}')\n"
        "library.error(KeyError(SECRET))\n"
        "library.error('Got %r after %d tries\\nbody: %s', SECRET, 3, SECRET)\n"
        "library.error('Task %(name)s: %(seconds).1f s', {'name': SECRET, 'seconds': 1.5})\n"
        "library.info(SECRET)\n"
    )
    assert first["event"] == second["event"] == "a library's message is withheld: it is not a constant"
    assert third["event"] == "Got <str> after 3 tries"
    assert fourth["event"] == "Task <str>: 1.5 s"
    assert fourth["at"].startswith("<string>:")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_that_cannot_be_made_shows_its_place_and_not_its_arguments(form: str) -> None:
    written = run("log.error('%d tries', SECRET)", form)
    assert "a line of karma.stage could not be written" in written
    assert "<string>:" in written
    assert SECRET not in written


#: What Python would print by itself, by the class that names it: in a thread, in `__del__`, in a loop, and uncaught.
PRINTED_BY_PYTHON = {
    "ValueError": "import threading\n"
    "thread = threading.Thread(target=int, args=[SECRET])\n"
    "thread.start(); thread.join()",
    "KeyError": "class Broken:\n    def __del__(self): raise KeyError(SECRET)\nBroken()",
    "UserWarning": "import warnings\nwarnings.warn(SECRET)",
    "AttributeError": "import asyncio\n"
    "async def main():\n"
    "    asyncio.get_running_loop().call_soon(getattr, object(), SECRET)\n"
    "    await asyncio.sleep(0)\n"
    "asyncio.run(main())",
    "RuntimeError": "raise RuntimeError(SECRET)",
}


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_python_itself_would_print_is_a_line_without_its_text(form: str) -> None:
    written = run("\n".join(PRINTED_BY_PYTHON.values()), form)
    assert [name for name in PRINTED_BY_PYTHON if name not in written] == []
    assert SECRET not in written
    if form == "json":
        lines = [json.loads(line) for line in written.splitlines()]
        assert all(line["timestamp"] for line in lines)
        assert len(lines) == len(PRINTED_BY_PYTHON)


def test_the_level_is_that_of_our_own_lines_alone() -> None:
    said = (
        "for name in ('karma.stage', 'karma_gateway.sweeper', 'redis'):\n"
        "    for level in (10, 20, 30, 40): logging.getLogger(name).log(level, 'x')\n"
    )

    def counts(level: str) -> dict[str, int]:
        found = [line["logger"] for line in lines(said, level)]
        return {name: found.count(name) for name in ("karma.stage", "karma_gateway.sweeper", "redis")}

    assert counts("DEBUG") == {"karma.stage": 4, "karma_gateway.sweeper": 4, "redis": 2}
    assert counts("ERROR") == {"karma.stage": 1, "karma_gateway.sweeper": 1, "redis": 1}


def test_every_service_counts_as_our_own() -> None:
    assert {f"karma_{service}" for service in SERVICES if service != "page"} < set(OWN_PACKAGES)


def test_people_on_a_terminal_get_text_and_files_get_json() -> None:
    said = "log.info('hello')\nlog.warning('world')"
    assert all(json.loads(line) for line in run(said, "auto").splitlines())
    mine, theirs = needs.terminal()
    run(said, "auto", stderr=theirs)
    os.close(theirs)
    shown = os.read(mine, 4096).decode()
    os.close(mine)
    assert "hello" in shown
    assert not shown.startswith("{")


@pytest.mark.parametrize(
    ("level", "form", "said"), [("LOUD", "json", "KARMA_LOG_LEVEL is 'LOUD'"), ("INFO", "yaml", "KARMA_LOG_FORMAT")]
)
def test_an_unknown_level_or_form_is_refused_with_a_sentence(level: str, form: str, said: str) -> None:
    script = f"from karma.telemetry.logging import configure_logging\nconfigure_logging({level!r}, {form!r})"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'shared'}"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment, check=False, timeout=60)
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("karma.errors.SettingsError: environment: ")
    assert said in last


MESSAGE = (
    '{"message": "generate.v2", "header": {"stream": "s", "batch": "b", "token": "t"}, "model": "a", '
    '"specification": "f", "items": [{"item": 1, "prompt": 1, "sample": 0, "seed": 1, "messages": '
    '[{"role": "user", "content": "x"}]}]}'
)


@pytest.mark.parametrize(
    ("sound", "broken", "where"),
    [
        ('"user"', f'"{SECRET} - at `$.x`"', "$.items[0].messages[0].role"),
        ('"generate.v2"', f'"{SECRET}"', "$.message"),
        ('"generate.v2"', '"generate.v99"', "'generate.v99'"),
        ('"prompt": 1', f'"prompt": "{SECRET}"', "$.items[0].prompt"),
    ],
)
def test_an_error_about_a_message_says_where_it_differs_and_repeats_nothing_of_it(
    sound: str, broken: str, where: str
) -> None:
    """It goes into logs as one of our own."""
    with pytest.raises(MessageError) as raised:
        decode(MESSAGE.replace(sound, broken))
    assert where in str(raised.value)
    assert SECRET not in str(raised.value)


@given(st.text())
def test_any_text_is_escaped_so_that_it_prints(text: str) -> None:
    assert _escaped(text).isprintable()
    if text.isprintable():
        assert _escaped(text) == text
