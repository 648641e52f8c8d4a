"""The reference of the commands in `docs/command_line.md`, made of their help.

`python -m tests.support.command_reference` writes it anew.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from karma_cli import COMMANDS, load

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"
BEGIN = "<!-- begin: python -m tests.support.command_reference writes this part -->"
END = "<!-- end -->"

#: Flags of many commands, which the page explains once.
SHARED = ("--pool", "--home", "--format", "--json", "--quiet")


def reference() -> str:
    """A section per command: its usage, its help, its arguments and its own flags."""
    return "\n".join(section(name, load(name)) for name in COMMANDS)


def section(name: str, command: Any) -> str:
    """The section of one command."""
    own = [option for option in command.params if option.opts[0] not in SHARED]
    shared = [f"`{option.opts[0]}`" for option in command.params if option.opts[0] in SHARED]
    arguments = [_argument(option) for option in own if option.param_type_name == "argument"]
    lines = [f"### karma {name}", "", "```", " ".join(["karma", name, *arguments, "[OPTIONS]"]), "```", ""]
    lines += [*inspect.cleandoc(command.help).splitlines(), ""]
    if own:
        lines += ["| argument or flag | |", "| --- | --- |", *map(_row, own), ""]
    if shared:
        lines += [f"Also {', '.join(shared)}.", ""]
    return "\n".join(lines)


def _argument(option: Any) -> str:
    metavar = option.metavar or option.name.upper()
    return metavar if option.required else f"[{metavar}]"


def _row(option: Any) -> str:
    flags = [_argument(option)] if option.param_type_name == "argument" else [*option.opts, *option.secondary_opts]
    shown = option.default not in (None, "") and not isinstance(option.default, bool)
    default = f" Default: {option.default}." if shown else ""
    named = ", ".join(f"`{flag}`" for flag in flags).replace("|", "\\|")
    return f"| {named} | {option.help}{default} |"


def renewed(page: str) -> str:
    """The page with its reference of today."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
