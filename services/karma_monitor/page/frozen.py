"""The page frozen into one file: its modules, its styles and its data inline, nothing loaded from elsewhere.

A browser runs only what the file's own Content-Security-Policy names: one script and one style sheet, each by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from karma.telemetry.escaping import escape_control

STATIC = Path(__file__).parent / "static"

_STYLES = ("vendor/uPlot/uPlot.min.css", "page.css")
_ENTRY = "report.js"
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'"

_IMPORT = re.compile(r'^import (?:(\w+)|\{([^}]*)\}) from "([^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_DEFAULT = re.compile(r"^export \{ (\w+) as default \};$", re.MULTILINE)


def frozen(title: str, data: Any) -> str:
    """The file as text.

    Args:
        title: of the document.
        data: JSON that `report.js` shows; texts in it may be hostile.
    """
    style = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in _STYLES)
    script = bundle(STATIC / _ENTRY)
    policy = f"{_POLICY}; script-src {_hash(script)}; style-src {_hash(style)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(escape_control(title))}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<main id="report"><noscript><p>This report needs JavaScript.</p></noscript></main>\n'
        f'<script type="application/json" id="data">{embedded(data)}</script>\n'
        f'<script type="module">{script}</script>\n</body>\n</html>\n'
    )


def embedded(data: Any) -> str:
    """JSON that no HTML parser takes for markup: ASCII only, without `<`, `>` and `&`."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def bundle(entry: Path) -> str:
    """The module and all that it imports as one module, each in a function of its own, in the order of their imports.

    Raises:
        ValueError: modules import each other in a circle.
    """
    done: dict[Path, str] = {}
    open_: list[Path] = []

    def add(path: Path) -> None:
        if path in open_:
            raise ValueError(f"{path} imports itself by way of {', '.join(str(one) for one in open_)}")
        if path in done:
            return
        open_.append(path)
        text = path.read_text(encoding="utf-8")
        for match in _IMPORT.finditer(text):
            add((path.parent / match[3]).resolve())
        done[path] = _as_function(path, text)
        open_.pop()

    add(entry.resolve())
    # `</` would end the script element; in strings, templates and regular expressions `<\/` is the same.
    return "const modules = {};\n" + "\n".join(done.values()).replace("</", "<\\/")


def _as_function(path: Path, text: str) -> str:
    def imported(match: re.Match[str]) -> str:
        name, names, source = match.groups()
        wanted = f"default: {name}" if name else re.sub(r" as ", ": ", names.strip())
        return f"const {{ {wanted} }} = modules[{_name((path.parent / source).resolve())}];"

    exported = [f"default: {name}" for name in _DEFAULT.findall(text)] or _EXPORT.findall(text)
    body = _DEFAULT.sub("", _EXPORT.sub("", _IMPORT.sub(imported, text)))
    return f"modules[{_name(path)}] = (() => {{\n{body}\nreturn {{ {', '.join(exported)} }};\n}})();"


def _name(path: Path) -> str:
    return json.dumps(path.relative_to(STATIC.resolve()).as_posix())


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
