"""Judge templates of users: read, checked and hashed with the pool file, and carried in the judge's specification."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from karma.config.judge_templates import known_templates, source_of, template_hash
from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.messages import JudgeSpec

OWN = "{{ fence }}\n{{ first }}\n{{ fence }}\n{{ second }}\n{{ fence }}\n{% if not brief %}Verdict?{% endif %}"

JUDGE = (
    '[judges.j]\nkind = "openai"\n{keys}\n[judges.j.model]\nbackend = "openai"\nmodel = "m"\nbase_url = "http://h/v1"\n'
)


def read(folder: Path, keys: str, text: str | bytes | None = OWN) -> Pool:
    if text is not None:
        (folder / "own.jinja").write_bytes(text.encode() if isinstance(text, str) else text)
    (folder / "pool.toml").write_text(JUDGE.format(keys=keys))
    return Pool.read(folder / "pool.toml")


def test_a_template_file_travels_with_the_judge(tmp_path: Path) -> None:
    spec = read(tmp_path, 'template = "./own.jinja"').judges["j"]
    (tmp_path / "own.jinja").unlink()

    carried = msgspec.json.decode(msgspec.json.encode(spec), type=JudgeSpec)

    assert source_of(carried) == OWN
    assert template_hash(carried) == template_hash(spec)
    assert known_templates([carried])[template_hash(spec, brief=True)] == ("./own.jinja", OWN, {})


def test_a_pool_file_that_travels_alone_has_the_text_in_it(tmp_path: Path) -> None:
    filed = read(tmp_path, 'template = "own.jinja"')
    (tmp_path / "own.jinja").unlink()

    alone = read(tmp_path, f'template = "own.jinja"\ntemplate_text = """\n{OWN}"""', None)

    assert alone.judges == filed.judges
    assert alone.judge_fingerprints == filed.judge_fingerprints


def test_the_template_of_the_docs_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[4] / "docs" / "pool.md").read_text(encoding="utf-8").split("```jinja\n")[1]

    assert read(tmp_path, 'template = "own.jinja"', text.split("```")[0]).judges["j"].template_text


def test_another_text_is_another_judge_to_its_workers_and_to_the_store(tmp_path: Path) -> None:
    one = read(tmp_path, 'template = "own.jinja"')
    other = read(tmp_path, 'template = "own.jinja"', OWN + "!")

    assert one.judge_fingerprints["j"] != other.judge_fingerprints["j"]
    assert template_hash(one.judges["j"]) != template_hash(other.judges["j"])


def test_a_judge_without_template_and_criteria_is_the_judge_that_it_was(tmp_path: Path) -> None:
    """Work that waits in a queue carries this fingerprint."""
    plain = read(tmp_path, "")

    assert plain.judge_fingerprints["j"] == read(tmp_path, "criteria = []").judge_fingerprints["j"]
    assert plain.judge_fingerprints["j"] == "98ef4f914e7ad0c7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN.replace("{{ second }}", ""), "uses brief, fence, first and lacks second"),
        ("Say A.", "uses no variable and lacks first and second and fence"),
        (OWN + "{{ fist }}", r"asks for 'fist' \(did you mean 'first'\?\); a template knows first, second, fence, m"),
        (OWN + "{% if %}", r"is not valid in line 6: Expected an expression"),
        (OWN + "{% include 'other.jinja' %}", r"cannot be rendered for a verdict line: TypeError: no loader"),
        (OWN + "{{ messages[7].content }}", r"cannot be rendered for a verdict line: UndefinedError"),
        (OWN + "{% if brief %}{{ 1 // 0 }}{% endif %}", r"rendered for a letter \(brief\): ZeroDivisionError"),
        (OWN + "{{ ''.__class__.__mro__ }}", "cannot be rendered for a verdict line: SecurityError"),
        ("{{ first }}{{ fence }}{{ second }}{{ fence }}", "shows first outside two fences of its own"),
        ("{{ fence }}{{ first }}{{ second }}{{ fence }}", "shows first outside two fences of its own"),
        ("{{ fence }}{{ first }}{{ fence }}{{ second }}", "shows second outside two fences of its own"),
        (OWN + "{{ first }}", "shows first outside two fences of its own"),
        (OWN.replace("first", "first | upper"), "does not show first as it is"),
        (" \n", "own.jinja is empty"),
        (b"\xff\xfe", "own.jinja is not UTF-8 at byte 0"),
        ("x" * 65_537, "own.jinja is larger than 64 KiB"),
        (None, r"own.jinja cannot be read \(No such file or directory\).*built-in template \(criteria, pairwise\)"),
    ],
)
def test_a_template_that_cannot_judge_is_refused_with_the_pool_file(
    tmp_path: Path, text: str | bytes | None, said: str
) -> None:
    with pytest.raises(SettingsError, match=r"pool\.toml: \[judges\.j\] template (is )?'own\.jinja'.*" + said):
        read(tmp_path, 'template = "own.jinja"', text)


def test_a_template_file_can_show_criteria(tmp_path: Path) -> None:
    keys = 'template = "own.jinja"\ncriteria = ["honesty"]'
    with pytest.raises(SettingsError, match="does not use criteria, and the judge has some"):
        read(tmp_path, keys)

    spec = read(tmp_path, keys, OWN + "{% for name in criteria %}{{ name }}{% endfor %}").judges["j"]

    assert spec.criteria == {"honesty": ""}


@pytest.mark.parametrize(
    ("keys", "criteria"),
    [
        ('criteria = ["helpfulness", "honesty"]', {"helpfulness": "", "honesty": ""}),
        ('criteria = { honesty = " No lies. " }', {"honesty": "No lies."}),
        ("", {}),
    ],
)
def test_criteria_are_names_or_names_with_sentences(tmp_path: Path, keys: str, criteria: dict[str, str]) -> None:
    assert read(tmp_path, keys).judges["j"].criteria == criteria


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('criteria = "honesty"', "criteria is 'honesty', expected names such as"),
        ("criteria = [1]", r"criteria is \[1\], expected names"),
        ('criteria = ["a", "a"]', "a name comes twice"),
        ('criteria = ["a\\nVerdict: A"]', "has the name 'a.nVerdict: A', expected letters"),
        ('criteria = { a = "x\\ny" }', "criteria.a is 'x.ny', expected a sentence"),
        (f"criteria = {[f'c{n}' for n in range(21)]}", "has 21 names, expected at most 20"),
        ('template = "pairwse"', r"template is 'pairwse' \(did you mean 'pairwise'\?\).*ends in .jinja"),
        ('template = "criteria"', "template is 'criteria' and needs criteria"),
        ('template_text = "x"', 'give the text a name, such as template = "own.jinja"'),
        ('template = "pairwise"\ntemplate_text = "x"', "give the text a name"),
        (
            'template = "own.jinja"\ntemplate_text = ""',
            "template_text of template 'own.jinja' is '', expected the text",
        ),
        ('template = "own.jinja"\ntemplate_text = 3', "template_text of template 'own.jinja' is 3, expected the text"),
        ('template = "own.jinja"\ntemplate_text = "x"', "template 'own.jinja' uses no variable and lacks first"),
        ("template = 3", "template is 3"),
    ],
)
def test_what_is_no_template_and_no_criterion_is_refused(tmp_path: Path, keys: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(tmp_path, keys)


@pytest.mark.parametrize("keys", ['template = "own.jinja"', 'criteria = ["honesty"]'])
def test_a_judge_that_is_asked_by_no_template_takes_none(tmp_path: Path, keys: str) -> None:
    (tmp_path / "pool.toml").write_text(f'[judges.v]\nkind = "verifier"\n{keys}\n')
    with pytest.raises(SettingsError, match="but a judge of kind 'verifier' is asked by no template"):
        Pool.read(tmp_path / "pool.toml")


def test_a_service_without_jinja_reads_the_pool_file_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "jinja2"]:
        monkeypatch.delitem(sys.modules, name)
    hidden: Any = None
    monkeypatch.setitem(sys.modules, "jinja2", hidden)

    assert read(tmp_path, 'template = "own.jinja"').judges["j"].template_text == OWN
