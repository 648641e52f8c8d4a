"""Settings: an error names the file, the key, what was found and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma.config.environment import Environment
from karma.config.goals import SETTINGS
from karma.config.pool import Pool
from karma.errors import SettingsError

GOOD = """
[models.a]
backend = "openai"
model = "a"
base_url = "http://127.0.0.1:1/v1"
[models.b]
backend = "openai"
model = "b"
base_url = "http://127.0.0.1:1/v1"
parent = "a"
[judges.j]
kind = "verifier"
"""

THIRD = GOOD + '\n[models.c]\nbackend="openai"\nmodel="c"\nbase_url="http://x/v1"\n'


def pool(tmp_path: Path, text: str) -> Pool:
    path = tmp_path / "pool.toml"
    path.write_text(text)
    return Pool.read(path)


def test_a_good_pool_is_read(tmp_path: Path) -> None:
    read = pool(tmp_path, GOOD)
    assert list(read.models) == ["a", "b"]
    assert read.parents == {"b": "a"}
    assert not read.judges["j"].both_orders
    assert read.stream("any").policy == SETTINGS["train"]["policy"]
    assert read.stream("any", "label").policy == "informative"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (GOOD.replace('model = "a"', 'modle = "a"'), r"pool\.toml: \[models\.a\] lacks the key model"),
        (THIRD + 'temprature=1.0\n', r"unknown key 'temprature' \(did you mean 'temperature'\?\)"),
        (THIRD + 'temperature="hot"\n', r"\[models\.c\] temperature is 'hot'"),
        (THIRD + 'temperature="hot"\n', r"temperature is 'hot': expected one of a number, default"),
        (THIRD + 'temperature=-1.0\n', r"temperature is -1\.0, expected 0 or more"),
        (THIRD + 'temperature=inf\n', r"temperature is inf, expected 0 or more"),
        (THIRD + 'requests_per_minute=0\n', r"requests_per_minute is 0\.0, expected above 0"),
        (THIRD + 'tokens_per_minute=inf\n', r"tokens_per_minute is inf, expected above 0"),
        (GOOD + "[stream]\nbudget_usd = inf\n", r"\[stream\] budget_usd is inf: Expected `float` <= 1"),
        (GOOD + "[pipeline]\nbudget_usd_per_day = inf\n", r"\[pipeline\] budget_usd_per_day is inf: Expected `float`"),
        (THIRD + 'rate_limit_wait_s=-1.0\n', r"rate_limit_wait_s is -1\.0, expected 0 or more"),
        (THIRD + 'on_length="drop"\n', r"on_length is 'drop': expected one of fail, keep"),
        (THIRD + 'fields={max_token="n"}\n', r"fields names 'max_token', .* \(did you mean 'max_tokens'\?\)"),
        (THIRD + 'fields={max_tokens="model"}\n', r"fields\.max_tokens is 'model', expected the endpoint's name"),
        (
            GOOD + "[judges.k]\nkind = \"prior\"\n[stream]\njudge_calls_per_hour = 1\n",
            r"\[stream\] judge_calls_per_hour is 1, but to judge one pair takes 2 calls .* Expected 2 or more",
        ),
        (GOOD + "[stream]\njudge_share = 0.0\n", r"\[stream\] judge_share is 0\.0: Expected `float` > 0\.0"),
        (GOOD + "[stream]\njudge_share = 0.5\naudit_share = 0.0\n", r"audit_share is 0\.0: Expected `float` > 0\.0"),
        (GOOD + "[stream]\nmax_label_error = 1.5\n", r"max_label_error is 1\.5: Expected `float` < 1\.0"),
        (
            GOOD.replace("verifier", "prior") + '[stream]\npolicy = "kin"\n',
            r"\[stream\] pairs close kin .* labels would be little more than chance",
        ),
        (GOOD + '\n[models.c]\nbackend="openai"\nmodel="c"\n', "no base_url"),
        (GOOD + '\n[models.c]\nbackend="transformers"\nmodel="./nowhere"\n', "there is no folder"),
        (GOOD + '\n[modles.c]\nbackend="openai"\n', r"unknown table \[modles\] \(did you mean 'models'\?\)"),
        (GOOD + '\n[stream]\ntarget = "q"\n', "names 'q', which is no model of the stream"),
        (GOOD + "\n[stream]\nresponses_per_prompt = 1\n", "responses_per_prompt is 1, expected 0 or at least 2"),
        (GOOD + '\n[stream]\nmodels = ["a"]\n', "no pair can be formed"),
        (GOOD + "\n[stream]\nmodels = [3]\n", r"\[stream\] models\[0\] is \[3\]: Expected `str`, got `int`"),
        (GOOD + '\n[stream]\nskills = "tags"\n', "skills is 'tags': expected one of labels, embeddings"),
        (GOOD + "\n[stream]\ntie_margin = nan\n", "tie_margin is nan: Expected `float` >= 0"),
        (GOOD + "\n[streams.s]\nexplore_share = 1.1\n", r"\[streams\.s\] explore_share is 1\.1: Expected `float` <= 1"),
        (GOOD + "\n[stream]\nmax_length_ratio = 0.5\n", r"\[stream\] max_length_ratio is 0\.5: Expected `float` >= 1"),
        (GOOD + "\n[stream]\nmax_length_ratio = nan\n", "max_length_ratio is nan: Expected `float` >= 1"),
        (GOOD + "\n[pipeline]\nwindow = 0\n", r"\[pipeline\] window is 0: Expected `int` >= 1"),
        (GOOD + "\n[pipeline]\nhalf_life_h = 0\n", r"\[pipeline\] half_life_h is 0: Expected `float` > 0"),
        (GOOD.replace('parent = "a"', 'parent = "z"'), r"\[models\.b\] parent names 'z'"),
        (GOOD + '\n[judges.k]\nkind="openai"\n', r"needs a table \[judges\.k\.model\]"),
        (GOOD + '\n[models."../x"]\nbackend="openai"\nmodel="c"\n', "must be letters, digits"),
        (GOOD.replace('[judges.j]\nkind = "verifier"\n', ""), "no judge is named"),
        (THIRD + 'price={input=1}\n', r"\[models\.c\] price lacks the key `output`"),
        (THIRD + 'top_p=2.0\n', r"top_p is 2\.0, expected above 0, at most 1"),
        (THIRD.replace("http://x/v1", "x:8000/v1"), "base_url is 'x:8000/v1', expected one that begins with http://"),
        (THIRD.replace("http://x/v1", "//x/v1"), "expected one that begins with http:// or https://"),
        (THIRD.replace("http://x/v1", "http://x:port/v1"), "expected one that begins with http:// or https://"),
        (GOOD + '\n[models.c]\nbackend="transformers"\nmodel="a/b/c"\n', "there is no folder"),
        (GOOD + '\n[models.c]\nbackend="transformers"\nmodel="~/c"\n', "there is no folder"),
        ("models = 3", "models must be tables"),
        ("[models", "not TOML"),
    ],
)  # fmt: skip
def test_a_bad_pool_is_refused_by_file_key_and_value(tmp_path: Path, change: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        pool(tmp_path, change)


def test_a_missing_pool_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--pool or KARMA_POOL"):
        Pool.read(tmp_path / "none.toml")


def test_an_unknown_variable_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match="KARMA_REDIS_ULR is no setting of KARMA .did you mean 'KARMA_REDIS_URL'"):
        Environment.read({"KARMA_REDIS_ULR": "x"})


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="KARMA_METRICS_PORT is '99999'"):
        Environment.read({"KARMA_METRICS_PORT": "99999"})


def test_without_redis_the_error_says_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="karma up"):
        Environment.read({"KARMA_HOME": str(tmp_path)}).broker_url()


@pytest.mark.parametrize(
    "key",
    ["sk-proj-SECRETabc", "gsk_SECRETabc", "hf_SECRETabc", "AIzaSySECRET", "SECRET key", "SECRET4f5e6d7c8b9a0f1e2d3c"],
)
def test_a_key_where_a_name_belongs_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    for table in ("[models.c]", '[judges.k]\nkind="openai"\n[judges.k.model]'):
        text = f'{GOOD}\n{table}\nbackend="openai"\nmodel="c"\nbase_url="http://x/v1"\napi_key_env="{key}"\n'
        with pytest.raises(SettingsError, match="not the name of an environment variable") as error:
            pool(tmp_path, text)
        assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("name", ["KARMA_SIGNING_KEY", "KARMA_DATABASE_URL", "karma_redis_url"])
def test_no_variable_of_karmas_own_is_an_endpoints_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "SECRET")
    with pytest.raises(SettingsError, match=f"{name}.*sent to no endpoint"):
        pool(tmp_path, THIRD + f'api_key_env="{name}"\n')


def test_options_that_name_a_variable_are_checked_as_well(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="token_env is not the name") as error:
        pool(tmp_path, THIRD + 'options={token_env="sk-proj-SECRETabc"}\n')
    assert "SECRET" not in str(error.value)


def test_a_list_of_keys_is_not_repeated_either(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        pool(tmp_path, THIRD + 'api_key_env=["SECRET"]\n')
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "key", "Together_key_2", "my_very_long_variable_of_a_key"])
def test_a_name_of_a_variable_is_accepted(tmp_path: Path, name: str) -> None:
    assert pool(tmp_path, THIRD + f'api_key_env="{name}"\n').models["c"].api_key_env == name


def test_a_name_that_looks_like_a_key_is_accepted_where_the_variable_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("hf_token_of_team7", "x")
    assert pool(tmp_path, THIRD + 'api_key_env="hf_token_of_team7"\n').models["c"].api_key_env == "hf_token_of_team7"


def test_a_revision_is_of_a_checkpoint_on_a_hub(tmp_path: Path) -> None:
    table = '\n[models.h]\nbackend="transformers"\nmodel="karma/tiny"\nrevision="0123abc"\n'
    assert pool(tmp_path, GOOD + table).models["h"].revision == "0123abc"
    with pytest.raises(SettingsError, match=r"\[models.c\].*revision is 'x': only a checkpoint on a hub has one"):
        pool(tmp_path, THIRD + 'revision="x"\n')


def test_the_fingerprint_is_of_what_is_asked_and_of_no_default(tmp_path: Path) -> None:
    def fingerprint(more: str = "") -> str:
        return pool(tmp_path, THIRD + more).model_fingerprints["c"]

    plain = fingerprint()
    assert fingerprint('temperature=0.7\nconcurrency=3\napi_key_env="OTHER"\ntimeout_s=7\noptions={}\n') == plain
    assert len({plain, fingerprint("temperature=0.8\n"), fingerprint("options={a=1}\n")}) == 3


def test_an_address_with_a_password_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="base_url is not an address") as error:
        pool(tmp_path, THIRD.replace("http://x/v1", "user:SECRET@x/v1"))
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_byte_order_mark_makes_no_difference(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "pool.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", line_end).encode())
    assert list(Pool.read(path).models) == ["a", "b"]


def test_a_pool_file_in_another_encoding_says_so(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(SettingsError, match=r"pool\.toml: not UTF-8 at byte 0\. Save it as UTF-8"):
        Pool.read(tmp_path / "pool.toml")
