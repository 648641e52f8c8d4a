"""The snapshot: look-ups, unseen models, and the trip through bytes."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest

from karma.errors import KarmaError
from karma.ranking.davidson import tie_probability
from karma.ranking.label_limit import LabelLimit
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma.ranking.tail import TailBin
from karma.ranking.verdict_sources import VerdictSource


def snapshot() -> Snapshot:
    """Two models and one skill; the third column is the unseen."""
    gap_deviation = np.array([[0.0, 0.3, 2.0], [0.3, 0.0, 2.0], [2.0, 2.0, 2.1]])
    return replace(
        Snapshot.empty(["good", "bad"], ["math"]),
        version=3,
        mean=np.array([[0.5, -0.5, 0.0], [1.0, -1.0, 0.0]]),
        gap_deviation=np.stack([gap_deviation, gap_deviation]),
        kinship=np.array([[[1.0, 0.6, np.nan], [0.6, 1.0, np.nan], [np.nan, np.nan, np.nan]]] * 2),
    )


def test_a_skill_it_does_not_know_reads_the_overall_competency() -> None:
    """None, an unknown skill and `overall` all are row 0."""
    known = snapshot()

    assert [known.row(skill) for skill in (None, "poetry", "overall", "math")] == [0, 0, 0, 1]
    assert known.between("good", "bad", "math").gap == 2.0
    assert known.between("good", "bad", "poetry").gap == 1.0


def test_a_model_it_does_not_know_is_a_newcomer() -> None:
    """Its kinship is unknown, its gap is as wide as the prior says."""
    found = snapshot().between("good", "stranger", None)

    assert snapshot().index("stranger") is None
    assert found.kinship is None
    assert (found.gap, found.gap_deviation) == (0.5, 2.0)


def test_a_model_is_its_own_kin_whether_known_or_not() -> None:
    """Two samples of one model have no gap, in the single look-up and in the matrix."""
    known = snapshot()

    for model in ("good", "stranger"):
        same = known.between(model, model, None)
        assert (same.kinship, same.gap, same.gap_deviation) == (1.0, 0.0, 0.0)
    assert known.matrix("kinship", ["stranger", "good", "stranger"], None)[0, 2] == 1.0
    assert np.isnan(known.matrix("kinship", ["stranger", "other"], None)[0, 1])


@pytest.mark.parametrize("name", ["gap", "gap_deviation", "kinship", "information", "win", "comparisons"])
def test_the_matrix_holds_what_the_single_look_ups_say(name: str) -> None:
    """For known, unknown and repeated models alike."""
    known, models = snapshot(), ["stranger", "bad", "good", "bad", "stranger"]

    matrix = known.matrix(name, models, "math")  # type: ignore[arg-type]

    for x, a in enumerate(models):
        for y, b in enumerate(models):
            single = getattr(known.between(a, b, "math"), "win_probability" if name == "win" else name)
            assert matrix[x, y] == pytest.approx(np.nan if single is None else single, nan_ok=True)


def test_at_a_cold_start_every_comparison_is_worth_the_same() -> None:
    """Information is equal for all pairs of different models, named beforehand or not."""
    cold = Snapshot.empty(["a", "b"])

    assert len({cold.between(x, y, None).information for x, y in [("a", "b"), ("a", "new"), ("new", "newer")]}) == 1
    assert cold.between("a", "b", None).kinship is None


def test_bytes_bring_back_the_same_snapshot() -> None:
    """Names and numbers survive, the latter in single precision."""
    before = snapshot()

    after = from_bytes(to_bytes(before))

    assert (after.version, after.models, after.skills, after.tie) == (3, ("good", "bad"), ("math",), before.tie)
    for name in ("mean", "deviation", "gap_deviation", "kinship", "information", "win", "comparisons"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-6)


def test_bytes_that_are_no_snapshot_are_refused() -> None:
    """Whatever they are."""
    for data in (b"", b"PK\x03\x04 broken", b"\x80\x04K\x01."):
        with pytest.raises(KarmaError, match="not a competency snapshot"):
            from_bytes(data)


def test_a_table_of_another_size_is_refused() -> None:
    """The error names the table, what was found and what was expected."""
    with pytest.raises(KarmaError, match=r"'mean' has shape \(1, 2\), expected \(1, 3\)"):
        replace(Snapshot.empty(["a", "b"]), mean=np.zeros((1, 2)))


def test_cosine_kinship_survives_the_bytes_and_is_alike_in_every_skill() -> None:
    """A stream chooses which kinship it goes by; the rest of the snapshot is the same."""
    cosine = np.array([[1.0, 0.2, np.nan], [0.2, 1.0, np.nan], [np.nan, np.nan, np.nan]])

    known = from_bytes(to_bytes(replace(snapshot(), cosine=cosine)))

    chosen = known.with_kinship("cosine")
    assert [chosen.between("good", "bad", skill).kinship for skill in ("math", None)] == pytest.approx([0.2, 0.2])
    assert chosen.between("good", "bad", "math").gap == known.between("good", "bad", "math").gap
    assert known.with_kinship("posterior").between("good", "bad", "math").kinship == pytest.approx(0.6)
    assert snapshot().with_kinship("cosine").between("good", "bad", "math").kinship is None


def test_limits_and_tails_survive_the_bytes() -> None:
    known = {"s": LabelLimit(0.05, 0.4, 0.3, 0.02, 0.049, 800, 0), "t": LabelLimit(0.1, None, 0.0, None, None, 3, None)}

    bins = (TailBin(0.8, 0.9, 0.15, 0.2, 0.17, 0.24, 300.0),)

    given = replace(snapshot(), label_limits=known, label_tails={"s": bins}, win_tail=bins)
    found = from_bytes(to_bytes(given))

    assert (found.label_limits, found.label_tails, found.win_tail) == (known, {"s": bins}, bins)


def test_a_snapshot_of_the_first_format_is_still_read() -> None:
    """It had neither cosine kinship nor an outcome model nor audits, and one tie parameter for all verdicts."""
    archive = dict(np.load(io.BytesIO(to_bytes(snapshot()))))
    head = json.loads(archive["head"].tobytes())
    old = {key: head[key] for key in ("version", "models", "skills", "tie", "epsilon")} | {"format": 1}
    buffer = io.BytesIO()
    np.savez(buffer, **{**archive, "head": np.frombuffer(json.dumps(old).encode(), dtype=np.uint8)})

    found = from_bytes(buffer.getvalue())

    assert found.between("good", "bad", "math") == from_bytes(to_bytes(snapshot())).between("good", "bad", "math")
    assert (found.cosine, found.outcome, found.audits, found.label_limits) == (None, None, {}, {})
    assert found.sources == {}
    gaps = np.array([0.0, 3.0])
    np.testing.assert_allclose(found.decisive(gaps, "math", "orders"), 1.0 - tie_probability(gaps, found.tie))


def test_the_sources_of_verdicts_survive_the_bytes() -> None:
    """P(decisive) is that of the source where it is known, and that of all by their shares in the skill otherwise."""
    sources = {"judge": VerdictSource(0.1, 1.0, (0.5, 1.0)), "orders": VerdictSource(2.0, 2.0, (0.5, 0.0))}

    known = from_bytes(to_bytes(replace(snapshot(), sources=sources)))

    assert known.sources == sources
    gaps = np.array([0.0, 3.0])
    judge, orders = 1.0 - tie_probability(gaps, 0.1), 1.0 - tie_probability(2.0 * gaps, 2.0)
    np.testing.assert_allclose(known.decisive(gaps, "math", "orders"), orders)
    np.testing.assert_allclose(known.decisive(gaps, "math"), judge)
    np.testing.assert_allclose(known.decisive(gaps, None), 0.5 * (judge + orders))
    np.testing.assert_allclose(known.decisive(gaps, None, "probe"), 0.5 * (judge + orders))


def test_a_snapshot_of_a_later_format_is_refused() -> None:
    """The error names it."""
    archive = dict(np.load(io.BytesIO(to_bytes(snapshot()))))
    head = json.loads(archive["head"].tobytes()) | {"format": 99}
    buffer = io.BytesIO()
    np.savez(buffer, **{**archive, "head": np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)})

    with pytest.raises(KarmaError, match="snapshot format 99"):
        from_bytes(buffer.getvalue())
