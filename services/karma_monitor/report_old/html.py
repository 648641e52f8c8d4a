"""The page around the pictures: one file, no scripts, nothing from elsewhere, light or dark as its reader prefers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from karma_monitor.report_old.drawing import text
from karma_monitor.report_old.pictures import CELL_INK

#: Colours per scheme. Texts have a contrast of at least 4.5 : 1 with their ground, lines and dots at least 3 : 1 (WCAG
#: 2.2, 1.4.3 and 1.4.11). The eight series are those of Okabe & Ito (2008), darkened or lightened until they have it.
LIGHT = {
    "ground": "#ffffff",
    "ink": "#1b1f24",
    "note": "#535b66",
    "grid": "#d9dee4",
    "mark": "#0068a3",
    "rule": "#b34700",
    "s0": "#0068a3",
    "s1": "#b34700",
    "s2": "#00795a",
    "s3": "#a8477f",
    "s4": "#2c7fb0",
    "s5": "#8a6d00",
    "s6": "#1b1f24",
    "s7": "#8a5a00",
}
DARK = {
    "ground": "#14171a",
    "ink": "#e8ebee",
    "note": "#aab2bc",
    "grid": "#343a41",
    "mark": "#56b4e9",
    "rule": "#f0902f",
    "s0": "#56b4e9",
    "s1": "#f0902f",
    "s2": "#2fc39a",
    "s3": "#e08fc0",
    "s4": "#7aa8ff",
    "s5": "#f0e442",
    "s6": "#e8ebee",
    "s7": "#d9a441",
}

_DASHES = ("none", "7 3", "2 3", "9 3 2 3", "12 4", "4 4", "16 3 3 3", "9 2 2 2 2 2")


@dataclass
class Section:
    """A part of the page: what it says, its pictures, and the figures behind them."""

    title: str
    said: list[str] = field(default_factory=list)  # sentences, plain text
    pictures: list[tuple[str, str]] = field(default_factory=list)  # caption (plain text), SVG
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = field(default_factory=list)  # title, head, rows

    def html(self) -> str:
        """The part as HTML; every text is escaped here."""
        parts = [f"<section><h2>{text(self.title)}</h2>", *(f"<p>{text(one)}</p>" for one in self.said)]
        for caption, picture in self.pictures:
            parts.append(f"<figure>{picture}<figcaption>{text(caption)}</figcaption></figure>")
        for title, head, rows in self.tables:
            parts.append(f"<details><summary>{text(title)}</summary>{_table(head, rows)}</details>")
        return "".join([*parts, "</section>"])


def page(title: str, said: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole page."""
    body = "\n".join(section.html() for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>\n<h1>{text(title)}</h1>\n"
        f"{''.join(f'<p>{text(one)}</p>' for one in said)}\n{_HATCH}\n{body}\n</main>\n</body>\n</html>\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    columns = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>{"".join(f"<td>{text(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    scrolled = 'class="wide" tabindex="0"'
    return f"<div {scrolled}><table><thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table></div>"


#: What is unknown is hatched, in every heat map of the page.
_HATCH = (
    '<svg width="0" height="0" aria-hidden="true" class="aside"><defs>'
    '<pattern id="unknown" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" class="ground"/><line class="hatch" x1="1" x2="1" y1="0" y2="6"/>'
    "</pattern></defs></svg>"
)


def _style() -> str:
    def scheme(colours: dict[str, str]) -> str:
        return ":root{" + "".join(f"--{name}:{colour};" for name, colour in colours.items()) + "}"

    series = "".join(
        f".s{place}{{stroke:var(--s{place});stroke-dasharray:{dashes}}}.s{place}.end{{fill:var(--s{place})}}"
        for place, dashes in enumerate(_DASHES)
    )
    return (
        f"{scheme(LIGHT)}@media (prefers-color-scheme: dark){{{scheme(DARK)}}}"
        "body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
        "main{max-width:1000px;margin:0 auto;padding:1rem}"
        "h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.5rem;border-top:1px solid var(--grid);padding-top:1rem}"
        "p{max-width:46rem;overflow-wrap:anywhere}"
        "figure{margin:1rem 0;overflow-x:auto}figcaption{color:var(--note);font-size:.9rem;max-width:46rem}"
        "svg{font:12px system-ui,sans-serif;fill:var(--ink);max-width:none}.aside{position:absolute}"
        ".note{fill:var(--note)}.small{font-size:10px}"
        f".cell{{fill:{CELL_INK}}}"
        ".grid{stroke:var(--grid)}.hatch{stroke:var(--note);stroke-width:1.5}.ground{fill:var(--ground)}"
        ".whisker{stroke:var(--mark);stroke-width:2}.dot,.bar{fill:var(--mark)}"
        ".rule{stroke:var(--rule);stroke-width:1.5;stroke-dasharray:5 3}"
        f".line{{fill:none;stroke-width:2}}{series}"
        "details{margin:.5rem 0}summary{cursor:pointer}.wide{overflow-x:auto}"
        "table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}"
        "th,td{padding:.15rem .6rem;border-bottom:1px solid var(--grid);text-align:right;white-space:nowrap}"
        "th:first-child{text-align:left}"
    )
