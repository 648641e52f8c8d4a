"""The code blocks of the pages on feeding and training: each says its language, and what can be read here is read."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.config.redis_address import RedisAddress
from karma_gateway.exporters.llama_factory import llama_factory
from karma_gateway.forms.reader import PromptReader
from karma_gateway.sources.items import Line
from tests.support import code_blocks
from tests.support.code_blocks import Block

ROOT = Path(__file__).parents[2]

#: What is run or read by a test: `bash` and `python` by tests/acceptance/test_pages.py (those of the tutorial, the
#: recipes and extending.md by tests of their own), `jinja` by
#: tests/unit/karma/config/test_template_files.py, the others here.
TESTED = {"bash", "python", "toml", "json", "jsonl", "yaml", "dotenv", "jinja"}

#: Page → first lines of its blocks that are not: output (`text`), and commands that need other machines, servers that
#: do not end, a hub, or an environment that is not there yet (`console`).
UNTESTED: dict[str, list[tuple[str, str]]] = {
    "README.md": [
        (
            "console",
            "make demo    # sets everything up, then streams 600 prompts through eleven real, tiny language models",
        ),
        ("text", "600 prompts accepted, 0 already present"),
        ("text", " prompts ──► gateway ──► generation ──► scoring ──► matching ──► judging ──┐"),
    ],
    "docs/extending.md": [],
    "docs/feeding.md": [("console", "$ karma enqueue alpaca.parquet")],
    "docs/operating.md": [
        (
            "console",
            "KARMA_SIGNING_KEY=… KARMA_REDIS_URL=redis://… KARMA_DATABASE_URL=postgresql://… KARMA_POOL=pool.toml "
            "karma worker scoring",
        ),
        ("console", "karma acl --generate > users.acl && valkey-server --aclfile users.acl --appendonly yes"),
        ("console", "pip install 'karma[traces]'"),
    ],
    "docs/pool.md": [],
    "docs/recipes.md": [],
    "docs/training_data.md": [
        ("text", "data/README.md                        where the data comes from, and which files are which split")
    ],
    "docs/tutorial.md": [],
}

#: A pool with every model and judge that the parts of a pool file in the pages name.
WHOLE: dict[str, Any] = {
    "models": {name: {"backend": "echo", "model": name} for name in "ab"},
    "judges": {name: {"kind": "longer"} for name in ("small", "large", "one", "two", "three")},
    "stream": {"goal": "label"},
}


def blocks(*languages: str) -> list[Any]:
    """Those of all pages in one of these languages, named by page and place."""
    return [
        pytest.param(block, id=f"{page}-{number}")
        for page in UNTESTED
        for number, block in enumerate(code_blocks.blocks(ROOT / page))
        if block.language in languages
    ]


@pytest.mark.parametrize("page", UNTESTED)
def test_every_block_says_its_language_and_what_no_test_runs_is_listed(page: str) -> None:
    assert code_blocks.unfenced(ROOT / page) == []
    found = [(block.language, block.text.split("\n")[0]) for block in code_blocks.blocks(ROOT / page)]
    assert [block for block in found if block[0] not in TESTED] == UNTESTED[page]


@pytest.mark.parametrize("block", blocks("toml"))
def test_toml_is_a_pool_file_or_a_part_of_one(block: Block, tmp_path: Path) -> None:
    tables = tomllib.loads(block.text)
    if "models" not in tables:
        for name, table in tables.items():
            tables[name] = {**WHOLE.get(name, {}), **table}
        tables = {**WHOLE, **tables}
    for table in tables["judges"].values():
        if table["kind"] == "openai":
            table.setdefault("model", {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"})
    pool = Pool.from_tables(tables, tmp_path / "pool.toml")
    assert pool.judges.keys() == tables["judges"].keys()
    assert pool.streams.keys() == tables.get("streams", {}).keys()


@pytest.mark.parametrize("block", blocks("jsonl"))
def test_json_lines_are_read_as_prompts(block: Block) -> None:
    read = PromptReader(1 << 20)
    lines = block.text.splitlines()
    for number, line in enumerate(lines):
        read(Line("page", number, line.encode()))
    assert [(form, count) for (form, _columns), count in read.prompts.items()] == [("KARMA", 1)] * len(lines)


def test_dataset_info_is_what_an_export_writes() -> None:
    (block,) = [block for block in code_blocks.blocks(ROOT / "docs/training_data.md") if block.language == "json"]
    assert llama_factory.entries is not None
    (written,) = llama_factory.entries({"train": ["pairs.jsonl"]})["dataset_info.json"].values()
    assert json.loads(block.text) == {"karma": written}


@pytest.mark.parametrize("block", blocks("yaml"))
def test_yaml_is_a_configuration_of_axolotl(block: Block) -> None:
    read = yaml.safe_load(block.text)
    assert read["rl"] == "dpo"
    (dataset,) = read["datasets"]
    assert dataset == {"path": "pairs.jsonl", "ds_type": "json", "type": "chat_template.default", "split": "train"}


@pytest.mark.parametrize("block", blocks("dotenv"))
def test_variables_are_read(block: Block, tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.touch()
    variables = dict(
        word.split("=", 1) for word in shlex.split(block.text.replace("/etc/karma/ca.pem", str(certificate)))
    )
    environment = Environment.read(variables)
    assert environment.redis_url is not None
    tls = RedisAddress.parse(environment.redis_url).tls
    assert tls.get("ssl_ca_certs") == (str(certificate) if "ssl_ca_certs" in block.text else None)
    assert unquote(urlsplit(environment.redis_url).password or "") == variables.get("KARMA_REDIS_PASSWORD", "PASSWORD")
    assert environment.database.password == variables.get("KARMA_DATABASE_PASSWORD")


def test_each_form_leads_to_its_recipe() -> None:
    feeding, recipes = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("feeding.md", "recipes.md"))
    led = re.findall(r"\(recipes\.md#([\w-]+)\)", feeding)
    assert set(led) == set(re.findall(r'<a id="([\w-]+)"></a>', recipes))
    rows = re.search(r"^## Forms\n(.*?)^The layouts are", feeding, re.MULTILINE | re.DOTALL)
    assert rows is not None
    forms = [row for row in rows[1].splitlines() if row.startswith("| ") and not row.startswith(("| ---", "| form"))]
    assert [row for row in forms if not row.startswith("| [")] == []
    assert len(forms) == 16
