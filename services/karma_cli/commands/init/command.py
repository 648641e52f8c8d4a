"""`karma init`: write a pool file for a server, a provider, or folders with checkpoints."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from karma.config.atomic_file import whole_file
from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.telemetry.escaping import escape_control
from karma_cli.commands.doctor.checkpoints import is_checkpoint
from karma_cli.commands.init.endpoint import chat_models, largest, offered
from karma_cli.commands.init.pool_text import Draft, Member, pool_text
from karma_cli.output import Output, with_format_flags

Source = Literal["ollama", "vllm", "openai", "litellm", "local"]

#: Where each server usually is, and the variable that usually holds its key.
_URLS: Final = {
    "ollama": ("http://127.0.0.1:11434/v1", None),
    "vllm": ("http://127.0.0.1:8000/v1", None),
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "litellm": ("http://127.0.0.1:4000/v1", "LITELLM_API_KEY"),
}
#: Models and a judge for a template, where the endpoint lists none.
_EXAMPLES: Final = {
    "ollama": (("llama3.2:3b", "qwen3:4b"), "gemma3:12b"),
    "vllm": (("Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B-Instruct"), "google/gemma-3-27b-it"),
    "openai": (("gpt-4.1-mini", "gpt-4.1-nano"), "gpt-5-mini"),
    "litellm": (("gpt-4.1-mini", "claude-haiku"), "gpt-5-mini"),
}
#: Of a server's list, so many models are in the pool; the others are comments.
_MOST_MODELS, _MOST_OTHERS = 6, 40
_DEPTH = 3
_SELF = "the judge also answers, and may prefer itself: name another one with --judge"


@with_format_flags
def init(
    output: Output,
    source: Annotated[Source, typer.Argument(metavar="ollama|vllm|openai|litellm|local", help="What answers.")],
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="FOLDER", help="Of local: checkpoints, or folders that hold some.")
    ] = None,
    base_url: Annotated[
        list[str] | None,
        typer.Option("--base-url", help="Address of the API; repeat it for several servers.", show_default="by source"),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A model that answers; repeat it. Default: what is found.")
    ] = None,
    judge: Annotated[str | None, typer.Option("--judge", help="The judge's model. Default: the largest found.")] = None,
    key: Annotated[
        str | None,
        typer.Option("--api-key-env", help="Name of the variable that holds the key.", show_default="by source"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("pool.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a pool file for Ollama, vLLM, OpenAI, LiteLLM, or folders with checkpoints.

    It asks the endpoint for its models. If that does not answer, the file names examples, and says so.

    `-q` prints the path of the file.
    """
    if out.exists() and not force:
        raise SettingsError(f"{out}: exists, and is kept as it is; --force replaces it, --out names another file")
    if not out.parent.is_dir():
        raise SettingsError(f"{out}: there is no folder {out.parent}; make it first, or name another file")
    if source == "local":
        if base_url or key:
            raise SettingsError("local loads folders and asks no endpoint: leave out --base-url and --api-key-env")
        draft = _local([*map(str, folders or ()), *(model or ())], judge, out.parent)
    else:
        if folders:
            raise SettingsError(f"{source} has no folders ({folders[0]}); name models with --model")
        draft = _remote(source, base_url or [], model or [], judge, key)
    text = pool_text(draft)
    _check(text, out)
    with whole_file(out) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    for note in draft.notes:
        output.note(note)
    count = len(draft.models)
    output.note(f"{count} model{'' if count == 1 else 's'} and the judge {draft.judge.model}")
    named = "" if str(out) == "pool.toml" else f" --pool {shlex.quote(str(out))}"
    output.note(f"next: karma doctor{named}, then karma up{named}")
    data = {"path": str(out), "models": [member.model for member in draft.models], "judge": draft.judge.model}
    output.result({**data, "notes": list(draft.notes)}, escape_control(str(out)), [out])


def _check(text: str, out: Path) -> None:
    """Refuse to write what could not be read, for example because of a name or an address on the command line."""
    import tomllib

    Pool.from_tables(tomllib.loads(text), out.absolute())


def _remote(source: str, urls: Sequence[str], models: Sequence[str], judge: str | None, key: str | None) -> Draft:
    usual_url, usual_key = _URLS[source]
    variable = key or usual_key
    offers = [offered(url, variable) for url in (urls or [usual_url])]
    notes = [f"{offer.base_url}: {offer.fault}" for offer in offers if offer.fault is not None]
    # A proxy on this machine often needs no key: it listed its models without one.
    if (
        source == "litellm"
        and key is None
        and all(not offer.fault for offer in offers)
        and not os.environ.get(usual_key or "")
    ):
        variable = None
    found = [Member(name, offer.base_url, variable) for offer in offers for name in chat_models(offer.models)]
    first = offers[0].base_url
    by_name = {member.model: member for member in reversed(found)}

    def member(name: str) -> Member:
        if found and name not in by_name:
            notes.append(f"no endpoint lists a model {name}")
        return by_name.get(name, Member(name, first, variable))

    examples, example_judge = _EXAMPLES[source]
    if not found and not models:
        notes.append("no models were found, so these are examples: put your own in their place")
    judging = member(judge) if judge else member(_judge(found, models) or (models[-1] if models else example_judge))
    if models:
        answering = [member(name) for name in models]
    elif found:
        rest = [one for one in found if one != judging]
        answering = (rest if len(rest) > 1 else found)[:_MOST_MODELS]
    else:
        answering = [Member(name, first, variable) for name in examples]
    if judging in answering:
        notes.append(_SELF)
    used = {(one.base_url, one.model) for one in (*answering, judging)}
    others = [one.model for one in found if (one.base_url, one.model) not in used]
    if variable and not os.environ.get(variable):
        notes.append(f"the variable {variable} is not set here: set it where the workers run")
    return Draft(source, answering, judging, _unique(notes), others[:_MOST_OTHERS])


def _judge(found: Sequence[Member], models: Sequence[str]) -> str | None:
    """The largest model that was found, but for those that answer where there is another one."""
    names = [one.model for one in found]
    return largest([name for name in names if name not in models] or names) if names else None


def _local(named: Sequence[str], judge: str | None, beside: Path) -> Draft:
    checkpoints = list(dict.fromkeys(folder for text in named or ["."] for folder in _found(Path(text))))
    if not checkpoints:
        where = ", ".join(named) or "this folder"
        raise SettingsError(
            f"no checkpoint in {where}: expected a folder with config.json and *.safetensors, at most {_DEPTH} folders "
            "deep. Name it: karma init local FOLDER"
        )
    judging = Path(judge) if judge else max(checkpoints, key=_bytes)
    if judge and not is_checkpoint(judging):
        raise SettingsError(f"--judge is {judge}: expected a folder with config.json and *.safetensors")
    rest = [folder for folder in checkpoints if folder.resolve() != judging.resolve()]
    answering = rest if len(rest) > 1 else checkpoints
    notes = [_SELF] if judging in answering else []
    members = [Member(_beside(folder, beside)) for folder in answering]
    return Draft("local", members, Member(_beside(judging, beside)), notes)


def _found(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """The checkpoints in a folder, itself included; a checkpoint's own folders are not looked at."""
    if not folder.is_dir():
        raise SettingsError(f"{folder}: is no folder")
    if is_checkpoint(folder):
        yield folder
    elif depth > 0:
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.startswith(".") and os.access(inner, os.R_OK | os.X_OK):
                yield from _found(inner, depth - 1)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _beside(folder: Path, other: Path) -> str:
    """A folder as a pool file in another folder names it."""
    path = os.path.relpath(folder.resolve(), other.resolve())
    return path if path.startswith("..") else f"./{path}"


def _unique(notes: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(escape_control(note) for note in notes))
