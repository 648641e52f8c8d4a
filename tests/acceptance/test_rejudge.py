"""A judge of two is down in the first run: its verdicts are asked for later, and it judges all pairs alone."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import needs
from tests.support.endpoint import pool, serve
from tests.support.pipeline import Pipeline
from tests.support.verifier import assert_exact

PROMPTS = 12
SECOND = """
[judges.second]
kind = "openai"

[judges.second.model]
backend = "openai"
model = "judge-second"
base_url = "{url}"
max_retries = 0
outage_wait_s = 0.1
"""


def test_missing_verdicts_are_asked_for_and_stored_pairs_are_judged_by_one_judge_alone(tmp_path: Path) -> None:
    needs.redis()
    with serve() as endpoint:
        judges, stream = pool(endpoint.url).split("[stream]")
        karma = Pipeline(tmp_path / "home", f"{judges}{SECOND.format(url=endpoint.url)}[stream]{stream}")
        url = f"sqlite:///{karma.home / 'karma.db'}"
        with karma.up():
            endpoint.down.add("judge-second")
            karma.enqueue([{"id": f"p{n}", "prompt": f"What is {n}?"} for n in range(PROMPTS)], "--stream", "mine")
            first = karma.wait_for_end(PROMPTS, 90)
            assert first["failed"]["verdicts"] == 2 * PROMPTS
            assert first["resolutions"]["unscored"] == 0
            generated = endpoint.calls["red"] + endpoint.calls["blue"]
            assert endpoint.calls["judge-fair"] == 2 * PROMPTS

            endpoint.down.clear()
            again = json.loads(karma.call("requeue", "failed", "--json").stdout)
            assert {kind: number for kind, number in again.items() if number and kind != "version"} == {
                "missing_verdicts": PROMPTS
            }
            second = karma.wait_for_end(PROMPTS, 90)
            assert second["failed"]["verdicts"] == 0
            assert endpoint.calls["judge-second"] == endpoint.calls["judge-fair"] == 2 * PROMPTS
            assert_exact(url, PROMPTS)
            assert json.loads(karma.call("requeue", "failed", "--json").stdout)["missing_verdicts"] == 0

            done = karma.run("rejudge", "mine", "--judge", "second", "--json")
            found = json.loads(done.stdout)
            assert (found["derived"], found["added"], found["judge_calls"]) == ("mine@rejudge:second", 12, 24)
            assert found["labels"]["pairs"] == PROMPTS
            assert found["labels"]["agreement"] == 1.0  # both judges of this endpoint are of one opinion
            assert endpoint.calls["red"] + endpoint.calls["blue"] == generated
            assert endpoint.calls["judge-fair"] == 2 * PROMPTS
            assert_exact(url, 2 * PROMPTS)
            told = karma.call("rejudge", "mine", "--judge", "second")
            assert "0 prompts added, 12 already present" in told.stderr
            assert "12 of these (100.0 %) have the same chosen response" in " ".join(told.stdout.split())
            karma.pool_path.write_text(karma.pool_path.read_text() + '[judges.third]\nkind = "prior"\n')
            unknown = karma.call("rejudge", "mine", "--judge", "third", check=False)
            assert unknown.returncode == 2
            assert "the gateway that runs does not have the judge 'third'" in unknown.stderr
            assert karma.status()["prompts"]["dead"] == 0
            assert karma.call("rejudge", "mine", "--judge", "secnd", check=False).stderr == (
                "karma: --judge names 'secnd', which is no judge (did you mean 'second'?)\n"
            )
