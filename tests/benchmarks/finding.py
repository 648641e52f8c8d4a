"""One figure of a case, and the command line of the benchmarks that consist of cases."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """What is said and what is true, or should be."""

    case: str
    what: str
    said: float
    true: float
    error: float  # standard error of `said`


def run_cases(description: str | None, cases: Mapping[str, Callable[[], list[Finding]]], width: int) -> None:
    """Run the cases that the command line names, or all, and print their findings; `width` is of the text column."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(cases)}; default: all")
    parser.add_argument("--json", type=Path, metavar="OUT")
    arguments = parser.parse_args()
    findings = []
    for case in arguments.case or cases:
        for found in cases[case]():
            findings.append(found)
            print(f"{found.case:<16} {found.what:<{width}} {found.said:8.3f} ± {found.error:.3f}, true {found.true:g}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(found) for found in findings], indent=1) + "\n")
