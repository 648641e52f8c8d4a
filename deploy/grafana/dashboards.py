"""Writes the dashboards that Grafana reads: `python -m deploy.grafana.dashboards`."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.cost import cost
from deploy.grafana.models import models
from deploy.grafana.quality import quality
from deploy.grafana.stream import stream

FOLDER = Path(__file__).parent / "dashboards"

BOARDS = {"stream": stream, "quality": quality, "models": models, "cost": cost}


def texts() -> dict[str, str]:
    """The JSON of every dashboard by its file's name."""
    return {
        f"{name}.json": json.dumps(board().build(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False)
        + "\n"
        for name, board in BOARDS.items()
    }


def main() -> None:
    """Write them all."""
    for name, text in texts().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
