"""What a command prints of names, errors and data moves no cursor on a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from karma_cli import main
from karma_cli.commands.export import command as export
from karma_cli.output import warn

ODD = "a\x1b[31m\x9b1mb\u202e[bold]"
SAFE = "a\\x1b[31m\\x9b1mb\\u202e[bold]"


@pytest.mark.parametrize(
    "arguments",
    [
        [ODD],
        ["status", f"--{ODD}"],
        ["status", f"--home={ODD}", ODD],
        ["export", ODD, "out.jsonl"],
        ["enqueue", f"{ODD}.jsonl"],
        ["doctor", f"--pool={ODD}.toml"],
        ["report", f"{ODD}/x.html"],
    ],
)
def test_errors_quote_what_was_read_without_its_control_characters(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["karma", *arguments])

    with pytest.raises(SystemExit) as ended:
        main()

    said = "".join(capsys.readouterr())  # doctor's findings are a result
    assert ended.value.code in (1, 2)
    assert "a\\x1b" in said
    assert not set("\x1b\x9b\u202e") & set(said)


def test_brackets_and_control_characters_of_a_sentence_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    warn(f"the endpoint said {ODD}", style="yellow")

    assert capsys.readouterr().err == f"the endpoint said {SAFE}\n"


@pytest.mark.parametrize("on_terminal", [True, False])
def test_rows_on_a_terminal_are_the_same_json_with_control_characters_spelled_out(
    on_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)

    export._print_rows([{"chosen": ODD}], None)

    said = capsys.readouterr().out
    assert json.loads(said) == {"chosen": ODD}
    assert bool(set("\x9b\u202e") & set(said)) is not on_terminal
