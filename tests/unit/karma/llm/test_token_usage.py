"""Tokens as endpoints report them: which are among others, and which stand beside them."""

from __future__ import annotations

from typing import Any

import pytest

from karma.llm.token_usage import TokenUsage, usage_of


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({}, TokenUsage()),
        ({"prompt_tokens": 10, "completion_tokens": 5}, TokenUsage(10, 5)),
        (  # OpenAI: both are among the others
            {
                **{"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            TokenUsage(10, 5, 4, 3),
        ),
        (  # xAI: the total says that reasoning stands beside what was written
            {
                **{"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 18},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            TokenUsage(10, 8, None, 3),
        ),
        (  # DeepSeek
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6},
            TokenUsage(10, 5, 4),
        ),
        (  # Anthropic's own form: the cache stands beside what was read
            {
                **{"input_tokens": 10, "output_tokens": 5},
                **{"cache_read_input_tokens": 100, "cache_creation_input_tokens": 20},
            },
            TokenUsage(130, 5, 100),
        ),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 99}}, TokenUsage(10, None, 10)),
        ({"prompt_tokens": -1, "completion_tokens": "5", "prompt_tokens_details": None}, TokenUsage(None, 5)),
        ({"prompt_tokens": 10, "completion_tokens_details": {"reasoning_tokens": "x"}}, TokenUsage(10)),
    ],
)
def test_what_is_read_of_a_usage(usage: dict[str, Any], read: TokenUsage) -> None:
    assert usage_of(usage) == read


def test_what_a_failed_attempt_used_is_kept() -> None:
    from karma.llm.completions import ChatRequest, result_of
    from karma.llm.refusals import FailedAttempt
    from karma.messages import ModelSpec

    spec = ModelSpec(name="m", backend="openai", model="m", base_url="http://127.0.0.1:1/v1")
    body = b'{"choices": [{"finish_reason": "error"}], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}'
    with pytest.raises(FailedAttempt) as failed:
        result_of(body, spec, ChatRequest((), 1))
    assert failed.value.usage == TokenUsage(7, 3)
    assert failed.value.usage.plus(TokenUsage(1, None, 2)) == TokenUsage(8, 3, 2)
