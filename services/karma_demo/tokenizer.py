"""The family's tokenizer: whole words for the phrasings, single bytes for all else.

Payloads (invented words, numbers) stay single characters, so that letters can be reversed or counted.
"""

import re
from typing import Final

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from karma_demo.tasks import HABITATS, PHRASINGS

PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|end|>"
ROLES: Final = ("system", "user", "assistant")
CHAT_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MAX_TOKENS: Final = 512


def _template_words() -> list[str]:
    """Every word of the phrasings and answers, in the byte-level form, with and without a space before it."""
    pretokenize = ByteLevel(add_prefix_space=False).pre_tokenize_str
    texts = [re.sub(r"\{\w+\}", "{}", phrasing) for phrasings in PHRASINGS.values() for phrasing in phrasings]
    texts += ["Answer: ", *(f"{first} {first}" for first in HABITATS.values())]
    words = {word for text in texts for word, _ in pretokenize(text) if "{" not in word and "}" not in word}
    return sorted(word for word in words if len(word) > 1)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of all members, with its chat template; the same on every call."""
    specials = [PAD, BOS, EOS, *(f"<|{role}|>" for role in ROLES)]
    tokens = [*specials, *sorted(ByteLevel.alphabet()), *_template_words()]
    # Without merges a word is either one token or its bytes, never parts of other words.
    tokenizer = Tokenizer(BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        extra_special_tokens=[f"<|{role}|>" for role in ROLES],
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_TOKENS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
