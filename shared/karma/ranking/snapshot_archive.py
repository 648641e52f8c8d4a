"""The stored form of a snapshot: a NumPy archive of tables in single precision, all else as JSON; never pickled."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from karma.errors import KarmaError
from karma.ranking.common_change import CommonChange
from karma.ranking.judge_plan import CascadeRule
from karma.ranking.jury import JudgeWeight, Jury
from karma.ranking.label_error import LabelError
from karma.ranking.label_limit import LabelLimit
from karma.ranking.label_model import LabelModel
from karma.ranking.misfit import PairFit
from karma.ranking.orders import SecondOrder
from karma.ranking.outcome_model import OutcomeModel
from karma.ranking.self_preference import SelfPreference
from karma.ranking.snapshot import MODEL_ARRAYS, PAIR_ARRAYS, Snapshot
from karma.ranking.tail import TailBin
from karma.ranking.verdict_sources import VerdictSource

_PLAIN_FIELDS = ("version", "models", "skills", "tie", "epsilon")  # as JSON
_FORMAT = 2  # 1 had no cosine kinship, no outcome model and no audits


def to_bytes(snapshot: Snapshot) -> bytes:
    """The snapshot as bytes."""
    head = {
        "format": _FORMAT,
        **{name: getattr(snapshot, name) for name in _PLAIN_FIELDS},
        "outcome": snapshot.outcome and snapshot.outcome.to_dict(),
        "audits": {stream: asdict(audit) for stream, audit in snapshot.audits.items()},
        "pair_fit": asdict(snapshot.pair_fit),
        "self_preference": {judge: asdict(each) for judge, each in snapshot.self_preference.items()},
        "label_limits": {stream: asdict(limit) for stream, limit in snapshot.label_limits.items()},
        "sources": {name: asdict(source) for name, source in snapshot.sources.items()},
        "common_changes": [asdict(change) for change in snapshot.common_changes],
        "label_tails": {stream: [asdict(each) for each in bins] for stream, bins in snapshot.label_tails.items()},
        "second_orders": {judge: asdict(each) for judge, each in snapshot.second_orders.items()},
        "cascades": [{"judges": judges, **asdict(each)} for judges, each in snapshot.cascades.items()],
        "cascade_audits": {stream: asdict(audit) for stream, audit in snapshot.cascade_audits.items()},
        "win_tail": [asdict(each) for each in snapshot.win_tail],
        "labels": snapshot.labels and snapshot.labels.to_dict(),
        "jury": {judge: asdict(each) for judge, each in snapshot.jury.judges.items()},
    }
    arrays = {name: getattr(snapshot, name).astype(np.float32) for name in (*MODEL_ARRAYS, *PAIR_ARRAYS)}
    buffer = io.BytesIO()
    if snapshot.cosine is not None:
        arrays["cosine"] = snapshot.cosine.astype(np.float32)
    np.savez(buffer, head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8), **arrays)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Snapshot:
    """The snapshot from the result of `to_bytes`.

    Raises:
        KarmaError: the bytes are no snapshot, or a snapshot of an unknown format.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            head = json.loads(archive["head"].tobytes())
            names = [*MODEL_ARRAYS, *PAIR_ARRAYS, *({"cosine"} & set(archive))]
            arrays = {name: archive[name].astype(np.float64) for name in names}
    except Exception as cause:  # np.load raises many different errors on broken bytes
        raise KarmaError(f"not a competency snapshot: {cause}. Refit the competencies to write a new one") from cause
    if head.get("format") not in range(1, _FORMAT + 1):
        raise KarmaError(
            f"snapshot format {head.get('format')!r}, expected 1 to {_FORMAT}. "
            "Refit the competencies to write a new one"
        )
    return Snapshot(
        version=int(head["version"]),
        models=tuple(head["models"]),
        skills=tuple(head["skills"]),
        tie=float(head["tie"]),
        epsilon=float(head["epsilon"]),
        outcome=OutcomeModel.from_dict(head["outcome"]) if head.get("outcome") else None,
        audits={stream: LabelError(**audit) for stream, audit in head.get("audits", {}).items()},
        pair_fit=PairFit.from_dict(head.get("pair_fit") or {}),
        self_preference={judge: SelfPreference(**each) for judge, each in head.get("self_preference", {}).items()},
        label_limits={stream: LabelLimit(**limit) for stream, limit in head.get("label_limits", {}).items()},
        sources={name: VerdictSource.from_dict(source) for name, source in head.get("sources", {}).items()},
        common_changes=tuple(CommonChange(**change) for change in head.get("common_changes", ())),
        label_tails={stream: _tail(bins) for stream, bins in head.get("label_tails", {}).items()},
        second_orders={
            judge: SecondOrder(tuple(each["weights"]), each["pairs"])
            for judge, each in head.get("second_orders", {}).items()
        },
        cascades={
            tuple(each["judges"]): CascadeRule(tuple(each["weights"]), each["pairs"])
            for each in head.get("cascades", ())
        },
        cascade_audits={stream: LabelError(**audit) for stream, audit in head.get("cascade_audits", {}).items()},
        win_tail=_tail(head.get("win_tail", [])),
        labels=LabelModel.from_dict(head["labels"]) if head.get("labels") else None,
        jury=Jury({judge: JudgeWeight.from_dict(each) for judge, each in head.get("jury", {}).items()}),
        **arrays,
    )


def _tail(bins: Sequence[Mapping[str, Any]]) -> tuple[TailBin, ...]:
    return tuple(TailBin(**each) for each in bins)
