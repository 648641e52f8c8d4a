"""Names of parts are checked where they are used, with the nearest known name as a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma.config.parts import check_parts
from karma.config.pool import Pool
from karma.errors import SettingsError
from tests.support.instant import POOL
from tests.unit.karma.config.test_pool import GOOD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD.replace('backend = "openai"', 'backend = "opnai"', 1),
         r"pool\.toml: \[models\.a\] backend: no backend is called 'opnai' \(did you mean 'openai'\?\)"),
        (GOOD.replace("verifier", "verifer"), r"\[judges\.j\] kind: no judge is called 'verifer' .*'verifier'"),
        (GOOD.replace('kind = "verifier"', 'kind = "verifier"\nchecker = "anser"'),
         r"\[judges\.j\] checker: no checker is called 'anser' .*'answer'"),
        (GOOD + '[stream]\npolicy = "kinship"\n', r"\[stream\] policy: no policy is called 'kinship' .*'kin'"),
        (GOOD + '[streams.s]\npolicy = "zzz"\n', r"\[streams\.s\] policy: .*'zzz'; known are: all-pairs, best-vs"),
        (GOOD + '[streams.s]\nchecker = "exakt"\n', r"\[streams\.s\] checker: .*'exact'"),
        (GOOD + '[stream]\nembedder_revision = "v1"\n', r"embedder_revision is 'v1': only an embedder on a hub"),
        (GOOD + '[stream]\nembedder = "./nowhere"\n', r"embedder is './nowhere': there is no folder /.*nowhere"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_refused_by_table_and_key(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text(text)
    read = Pool.read(tmp_path / "pool.toml")
    with pytest.raises(SettingsError, match=expected):
        check_parts(read)


def test_a_name_of_a_plug_in_is_known_where_the_plug_in_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pool.toml").write_text(POOL)
    read = Pool.read(tmp_path / "pool.toml")
    with pytest.raises(SettingsError, match="no backend is called 'instant'"):
        check_parts(read)
    monkeypatch.setenv("KARMA_PLUGINS", "tests.support.instant")
    check_parts(read)
