"""The tokens of a text are those that it has after its prompt, whichever way a tokenizer joins them."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from karma.llm.chat_tokens import ChatTokens, split_at_seam
from karma.messages import Turn

CORPUS = ["A B A B answer with one letter", "Verdict: A or B", "A", "B", "[u]"] * 20
TEMPLATES = [None, "{% for message in messages %}[u] {{ message['content'] }}\nAnswer:\n{% endfor %}"]


def sentencepiece(kind: str) -> PreTrainedTokenizerFast:
    """A small tokenizer as SentencePiece's are: a space before the text and before each word is a part of its token."""
    tokenizer = Tokenizer(models.Unigram() if kind == "unigram" else models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>"]
    alphabet = sorted(set("".join(CORPUS)) | {"▁", "\n"})
    trainer = (
        trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", initial_alphabet=alphabet)
        if kind == "unigram"
        else trainers.BpeTrainer(vocab_size=60, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_label_after_a_line_break_has_the_token_that_it_has_there(kind: str, template: str | None) -> None:
    tokenizer = sentencepiece(kind)
    tokenizer.chat_template = template
    alone = {label: tokenizer(label, add_special_tokens=False)["input_ids"] for label in "AB"}

    found = ChatTokens(tokenizer, ["<s>", "</s>"]).continued((Turn("user", "one letter"),), "AB")

    assert not isinstance(found, str)
    for label, (prompt, after) in zip("AB", found, strict=True):
        assert tokenizer.convert_ids_to_tokens(after) == [label]
        assert alone[label] != after, "this tokenizer shows nothing: the label alone has the same token"
        assert prompt == found[0][0]


def test_special_tokens_in_a_text_after_a_chat_are_text() -> None:
    tokenizer = sentencepiece("bpe")
    found = ChatTokens(tokenizer, ["</s>", "<s>"]).continued((Turn("user", "A"),), ["A</s>"])

    assert not isinstance(found, str)
    assert tokenizer.eos_token_id not in found[0][1]


def test_a_label_stands_after_the_reasoning_that_a_chat_template_opens() -> None:
    tokenizer = sentencepiece("bpe")
    tokenizer.chat_template = "{{ messages[0]['content'] + '\nA:\n<think>\n' }}"
    closed = ChatTokens(tokenizer, []).continued((Turn("user", "one letter"),), ["A"])
    tokenizer.chat_template = "{{ messages[0]['content'] + '\nA:\n<think>\n\n</think>\n\n' }}"

    assert closed == ChatTokens(tokenizer, []).continued((Turn("user", "one letter"),), ["A"])


@pytest.mark.parametrize(
    ("prompt", "whole", "split"),
    [
        ([1, 2], [1, 2, 3], ([1, 2], [3])),
        ([1, 2], [1, 2], ([1, 2], [])),
        ([1, 2, 3], [1, 2, 9, 4], ([1, 2], [9, 4])),  # the last token of the prompt was joined with the text
        ([1, 2, 3], [1, 2], ([1, 2], [])),
        ([1, 5], [1, 7, 5], ([1], [7, 5])),  # a token that the tokenizer adds at the end
        ([], [1], ([], [1])),
    ],
)
def test_the_seam_is_where_the_two_begin_to_differ(
    prompt: list[int], whole: list[int], split: tuple[list[int], list[int]]
) -> None:
    assert split_at_seam(prompt, whole) == split
