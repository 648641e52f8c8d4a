"""Rivals measured in turn, in the same minutes: repetitions, their file, and ratios with their spread."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

from tests.benchmarks.machine import load
from tests.benchmarks.paired import Ratio, ratio

#: What was measured of a rival in one repetition, by name of the figure.
Figures = dict[str, float]

#: Two rivals, the first of which is compared with the second.
Pair = tuple[str, str]

#: CPU cores in use by others: no figure of a rival, and told beside each.
OTHERS = "others_cores"

_FEWEST = 5


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Options that all benchmarks of speed have."""
    made = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--repetitions", type=int, default=_FEWEST, help="of each rival, in turn (default: 5)")
    made.add_argument("--json", type=Path, metavar="OUT", help="write all figures to this file")
    made.add_argument("--resume", action="store_true", help="keep the repetitions in OUT and add to them")
    return made


def end_in_order() -> None:
    """Let SIGTERM end the program as Ctrl-C does: what it started is stopped, and its folders go."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def alternate(
    rivals: Mapping[str, Callable[[Any], Figures]],
    parts: Sequence[Any],
    arguments: argparse.Namespace,
    setting: Mapping[str, Any],
    pairs: Sequence[Pair],
) -> list[dict[str, Any]]:
    """Measure each part of all rivals in every repetition, each time in another order.

    Args:
        rivals: what measures a part, by the name of what is measured.
        parts: what rivals get, such as a number of prompts. All rivals have done one before the next begins.
        arguments: those of `parser`; the file is written after each repetition.
        setting: what repetitions in one file have in common.
        pairs: whose ratios the file has.

    Raises:
        SystemExit: the file has repetitions of other rivals or of another setting.
    """
    repetitions = _kept(arguments, setting, rivals)
    names = list(rivals)
    for _repetition in range(arguments.repetitions):
        number = len(repetitions)
        measured: dict[str, Figures] = {name: {} for name in names}
        others: dict[str, list[float]] = {name: [] for name in names}
        with load() as seen:
            for place, part in enumerate(parts):
                for name in turned(names, number + place):
                    with load() as during:
                        found = rivals[name](part)
                    if not found:  # it leaves this part out
                        continue
                    measured[name] |= found
                    others[name].append(during.others_cores)
                    print(f"{number + 1}: {name}: {shown(found)}", flush=True)
        for name in names:
            if others[name]:
                measured[name][OTHERS] = round(fmean(others[name]), 3)
        repetitions.append({"load": asdict(seen), "rivals": measured})
        print(f"{number + 1}: {seen}", flush=True)
        if arguments.json:
            written = {"setting": dict(setting), "repetitions": repetitions, "ratios": ratios(repetitions, pairs)}
            arguments.json.write_text(json.dumps(written, indent=1) + "\n")
    return repetitions


def turned(names: Sequence[str], turn: int) -> list[str]:
    """The order of a turn; over twice as many turns as names, each is at every place equally often."""
    start = turn // 2 % len(names)
    order = [*names[start:], *names[:start]]
    return order if turn % 2 == 0 else order[::-1]


def _kept(
    arguments: argparse.Namespace, setting: Mapping[str, Any], rivals: Mapping[str, object]
) -> list[dict[str, Any]]:
    """The repetitions of earlier runs."""
    if not arguments.resume or arguments.json is None or not arguments.json.exists():
        return []
    found = json.loads(arguments.json.read_text())
    repetitions: list[dict[str, Any]] = found["repetitions"]
    wanted = (json.loads(json.dumps(setting)), [set(rivals)] * len(repetitions))
    if (found["setting"], [set(one["rivals"]) for one in repetitions]) != wanted:
        raise SystemExit(f"{arguments.json} has figures of other rivals or another setting: name another file")
    return repetitions


def shown(figures: Figures) -> str:
    """Figures on one line."""
    return ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())


def values(repetitions: Sequence[Mapping[str, Any]], rival: str, figure: str) -> list[float]:
    """A figure of a rival in every repetition; those that do not have it are left out."""
    found = [one["rivals"][rival].get(figure) for one in repetitions]
    return [float(value) for value in found if value is not None]


def first_to_others(names: Sequence[str]) -> list[Pair]:
    """The first of all, compared with each other one."""
    return [(names[0], other) for other in names[1:]]


def ratios(repetitions: Sequence[Mapping[str, Any]], pairs: Sequence[Pair]) -> dict[str, dict[str, Any]]:
    """Pair → figure → ratio, where both have the figure in every repetition, and it is above 0."""
    found: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        compared = {name: compare(repetitions, name, pair) for name in repetitions[0]["rivals"][pair[0]]}
        found[" / ".join(pair)] = {name: asdict(of) for name, of in compared.items() if of is not None}
    return found


def compare(repetitions: Sequence[Mapping[str, Any]], figure: str, pair: Pair) -> Ratio | None:
    """The ratio of a figure of the first to that of the second, if it can be told."""
    one, other = (values(repetitions, name, figure) for name in pair)
    usable = len(one) == len(other) == len(repetitions) and min(*one, *other) > 0.0 and figure != OTHERS
    return ratio(one, other) if usable else None


def print_table(repetitions: Sequence[Mapping[str, Any]], pairs: Sequence[Pair]) -> None:
    """Medians of all rivals, and the ratios of pairs of them with their 95 % intervals."""
    rivals: dict[str, Figures] = repetitions[0]["rivals"]
    print(f"\nmedians of {len(repetitions)} repetitions; ratios with their 95 % intervals")
    heads = [*(f"{name:>14}" for name in rivals), *(f"{' / '.join(pair):>28}" for pair in pairs)]
    figures = list(dict.fromkeys(name for found in rivals.values() for name in found))
    widest = max(len(figure) for figure in figures)
    print(" " * widest + "".join(heads))
    for figure in figures:
        found = [values(repetitions, name, figure) for name in rivals]
        cells = [f"{median(of):>14,.4g}" if of else f"{'':>14}" for of in found]
        cells += [f"{compare(repetitions, figure, pair) or ''!s:>28}" for pair in pairs]
        print(f"{figure:<{widest}}" + "".join(cells))
    print("\nother CPU use during each repetition, cores: ", end="")
    print(", ".join(f"{one['load']['others_cores']:.2f} of {one['load']['cores']}" for one in repetitions))
