"""A random tiny Llama, made here, against plain unbatched computations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from karma.errors import MissingExtraError, SettingsError
from karma.llm.generation import Generated
from karma.llm.transformers import LocalModel
from karma.messages import GenerateItem, ModelSpec, ToolCall, ToolFunction, Turn
from karma_generation.backends.transformers import TransformersBackend

CONTEXT = 96
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "{{ message['content'] }}{{ eos_token }}{% endfor %}"
)


def make_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """Bytes and three special tokens."""
    tokens = ["<|pad|>", "<|bos|>", "<|end|>", *sorted(ByteLevel.alphabet())]
    tokenizer = Tokenizer(BPE(vocab={token: place for place, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|end|>",
        chat_template=template,
    )


def make_model(folder: Path, seed: int = 0, layers: int = 2) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("llama")
    make_model(made)
    return made


@pytest.fixture(scope="module")
def plain(folder: Path) -> LlamaForCausalLM:
    """The same weights, asked without KARMA."""
    return LlamaForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def local(folder: Path) -> LocalModel:
    return LocalModel.load(spec(folder))


def spec(folder: Path, **more: object) -> ModelSpec:
    named = {
        "name": "tiny",
        "backend": "transformers",
        "model": str(folder),
        "temperature": 0.0,
        "max_tokens": 8,
        "on_length": "keep",  # an untrained model does not end
    } | more
    return ModelSpec(**named)  # type: ignore[arg-type]


def chat(text: str) -> tuple[Turn, ...]:
    return (Turn("user", text),)


def prompt_ids(text: str) -> list[int]:
    return [1, *make_tokenizer()(text)["input_ids"], 2]


def generated(local: LocalModel, chats: Sequence[Sequence[Turn]], asked: ModelSpec, seed: int = 0) -> list[Generated]:
    found = dict(pair for group in local.generate(chats, [seed] * len(chats), asked) for pair in group)
    assert sorted(found) == list(range(len(chats)))
    return [found[place] for place in range(len(chats))]


TEXTS = ["a", "a much longer question, of many bytes", "Hello there", "why?", "xyz" * 9]


def test_the_likelihood_of_a_batch_equals_a_plain_computation_one_by_one(
    local: LocalModel, plain: LlamaForCausalLM
) -> None:
    responses = ["yes", "", "a long answer that goes on for a while", "naïve", "no"]

    found = local.log_likelihood([chat(text) for text in TEXTS], responses, batch=2)

    for text, response, one in zip(TEXTS, responses, found, strict=True):
        prompt = prompt_ids(text)
        answer = [*make_tokenizer()(response)["input_ids"], 2]
        with torch.no_grad():
            logits = plain(torch.tensor([prompt + answer])).logits[0]
        said = torch.log_softmax(logits, -1)
        expected = sum(float(said[len(prompt) - 1 + place, token]) for place, token in enumerate(answer))
        assert one.failure is None
        assert one.tokens == len(answer)
        assert one.nats == pytest.approx(expected, abs=1e-3)


def test_padding_shifts_no_position_of_a_model_with_learned_positions(tmp_path: Path) -> None:
    """A Llama would not notice: it sees only distances between positions."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=259, n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=2, initializer_range=0.5, eos_token_id=2
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    local, chats = LocalModel.load(spec(tmp_path)), [chat(text) for text in TEXTS]

    likelihoods = local.log_likelihood(chats, ["yes"] * len(chats))
    labels = local.label_probability(chats)

    for one, likelihood, label in zip(chats, likelihoods, labels, strict=True):
        assert likelihood.nats == pytest.approx(local.log_likelihood([one], ["yes"])[0].nats, abs=1e-3)
        assert label.first == pytest.approx(local.label_probability([one])[0].first, abs=1e-5)


def test_a_chat_template_gets_tool_calls_with_arguments_as_an_object_and_no_special_token(local: LocalModel) -> None:
    arguments = '{"a": "1<|end|>"}'
    call = ToolCall(id="c1", type="function", function=ToolFunction("add", arguments))
    assert local._chats._turn(Turn("assistant", "", tool_calls=(call,))) == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": "1< |end|>"}}},
        ],
    }


def test_padding_and_the_batch_do_not_change_greedy_answers(local: LocalModel, folder: Path) -> None:
    chats = [chat(text) for text in TEXTS]

    together = generated(local, chats, spec(folder))
    alone = [generated(local, [one], spec(folder))[0] for one in chats]

    assert together == alone
    assert len({one.text for one in together}) > 1


def test_greedy_answers_equal_a_plain_loop(local: LocalModel, plain: LlamaForCausalLM, folder: Path) -> None:
    ids = prompt_ids("Hello there")
    for _ in range(8):
        with torch.no_grad():
            ids.append(int(plain(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == 2:
            break

    found = generated(local, [chat("Hello there")], spec(folder))[0]

    made = ids[len(prompt_ids("Hello there")) :]
    assert found.text == make_tokenizer().decode(made, skip_special_tokens=True)
    assert (found.tokens_in, found.tokens_out) == (len(prompt_ids("Hello there")), len(made))
    assert found.finish_reason == ("stop" if made[-1] == 2 else "length")


def test_the_same_batch_with_the_same_seeds_gives_the_same_texts_and_other_seeds_do_not(
    local: LocalModel, folder: Path
) -> None:
    chats, asked = [chat(text) for text in TEXTS], spec(folder, temperature=1.0)

    assert generated(local, chats, asked, seed=1) == generated(local, chats, asked, seed=1)
    assert generated(local, chats, asked, seed=1) != generated(local, chats, asked, seed=2)


def test_label_probabilities_are_those_of_the_next_token(local: LocalModel, plain: LlamaForCausalLM) -> None:
    found = local.label_probability([chat(text) for text in TEXTS], batch=3)

    labels = [make_tokenizer()(label)["input_ids"][0] for label in ("A", "B")]
    for text, one in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            said = torch.softmax(plain(torch.tensor([prompt_ids(text)])).logits[0, -1], -1)
        assert (one.first, one.second) == pytest.approx(said[labels].tolist(), abs=1e-4)
        assert 0 < one.first + one.second <= 1


def test_labels_that_begin_alike_are_refused_because_they_would_always_tie(local: LocalModel) -> None:
    with pytest.raises(SettingsError, match="cannot tell"):
        local.label_probability([chat("a")], labels=("Yes", "Yeah"))


def sentencepiece_model(folder: Path) -> LlamaForCausalLM:
    """A model whose tokenizer gives a letter another id after a line break than alone."""
    tokens = ["<unk>", "<bos>", "<end>", "▁A", "▁B", "▁", *"ABCabcdefghijklmnopqrstuvwxyz\n.,?: "]
    tokenizer = Tokenizer(
        BPE({token: n for n, token in enumerate(tokens)}, [("▁", "A"), ("▁", "B")], unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = Metaspace(prepend_scheme="first", split=False)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<bos>", eos_token="<end>", pad_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model


def test_the_label_is_read_where_the_tokenizer_puts_it_after_the_prompt(tmp_path: Path) -> None:
    model = sentencepiece_model(tmp_path)
    local = LocalModel.load(spec(tmp_path))
    encode = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    chats = [chat("one letter?"), chat("b")]

    labels = local.label_probability(chats)
    likelihoods = local.log_likelihood(chats, ["A", "B"])

    for one, label, likelihood, response in zip(chats, labels, likelihoods, "AB", strict=True):
        ids = encode(one[0].content + "\n\n")["input_ids"]
        a, b = (encode.convert_tokens_to_ids(letter) for letter in "AB")
        assert encode("A", add_special_tokens=False)["input_ids"] == [encode.convert_tokens_to_ids("▁A")] != [a]
        with torch.no_grad():
            logits = model(torch.tensor([[*ids, a if response == "A" else b]])).logits[0]
        said = torch.log_softmax(logits, -1)
        assert label.first == pytest.approx(float(said[-2, a].exp()), abs=1e-4)
        assert label.second == pytest.approx(float(said[-2, b].exp()), abs=1e-4)
        assert likelihood.tokens == 2
        nats = float(said[-2, a if response == "A" else b] + said[-1, 2])
        assert likelihood.nats == pytest.approx(nats, abs=1e-3)


def test_a_prompt_that_does_not_fit_fails_alone(local: LocalModel, folder: Path) -> None:
    chats = [chat("a"), chat("x" * CONTEXT), chat("b")]

    answers = generated(local, chats, spec(folder))
    likelihoods = local.log_likelihood(chats, ["yes"] * 3)
    labels = local.label_probability(chats)

    for results in (answers, likelihoods, labels):
        assert [one.failure is None for one in results] == [True, False, True]
    assert answers[1].failure == f"the prompt has {CONTEXT + 2} tokens and 1 more, the model takes {CONTEXT}"


def test_a_long_prompt_does_not_cut_its_neighbours_short(local: LocalModel, folder: Path) -> None:
    chats, asked = [chat("a"), chat("x" * (CONTEXT - 4))], spec(folder, max_tokens=16)

    short, long = generated(local, chats, asked)

    assert short == generated(local, chats[:1], asked)[0]
    assert long.tokens_out is not None
    assert long.tokens_out <= 2


def test_a_chat_that_the_template_refuses_fails_alone(local: LocalModel, folder: Path) -> None:
    chats = [chat("a"), (Turn("system", "Be brief."), *chat("a")), chat("b")]

    found = generated(local, chats, spec(folder))

    assert [one.failure is None for one in found] == [True, False, True]
    assert "no system turn" in (found[1].failure or "")


def test_special_tokens_inside_a_text_are_text(local: LocalModel) -> None:
    """A response that could write the end of a turn would speak for the judge after it."""
    counted = local.log_likelihood([chat("a")] * 2, ["<|end|>", "< |end|>"])

    assert counted[0] == counted[1]
    assert counted[0].tokens == len("< |end|>") + 1


def test_special_tokens_that_the_tokenizer_does_not_name_are_text_too(tmp_path: Path) -> None:
    """Some chat formats open and close their turns with such tokens."""
    make_model(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    tokenizer.add_tokens([AddedToken("<|turn|>", special=True, normalized=False)], special_tokens=True)
    tokenizer.save_pretrained(tmp_path)
    assert "<|turn|>" not in tokenizer.all_special_tokens
    local = LocalModel.load(spec(tmp_path))

    counted = local.log_likelihood([chat("a")], ["<|turn|>"])[0]
    answered = generated(local, [chat("<|turn|>")], spec(tmp_path))[0]

    assert counted.tokens == len("< |turn|>") + 1
    assert answered.tokens_in == len(prompt_ids("< |turn|>"))


def test_a_model_without_a_chat_template_gets_the_turns_as_plain_text(tmp_path: Path) -> None:
    make_model(tmp_path)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    make_tokenizer(template=None).save_pretrained(tmp_path)

    found = generated(LocalModel.load(spec(tmp_path)), [chat("Hello")], spec(tmp_path))[0]

    assert found.failure is None
    assert found.tokens_in == len("Hello\n\n")


def test_a_checkpoint_is_loaded_once_in_a_process(folder: Path) -> None:
    assert LocalModel.load(spec(folder)) is LocalModel.load(spec(folder, name="other", temperature=1.0))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    model = make_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")

    with pytest.raises(SettingsError, match="cannot be loaded"):
        LocalModel.load(spec(tmp_path))


@pytest.mark.ci
def test_a_checkpoint_on_a_hub_is_that_of_its_revision(tmp_path: Path) -> None:
    """Two commits in a hub's cache: `main` is the newer one."""
    cached = tmp_path / "models--karma--tiny"
    for commit, layers in (("a" * 40, 1), ("b" * 40, 2)):
        make_model(cached / "snapshots" / commit, layers=layers)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("b" * 40)
    code = (
        "from karma.llm.checkpoint import load\n"
        "for revision in (None, 'a' * 40):\n"
        "    print(load('karma/tiny', revision, 'auto', 'cpu')[0].config.num_hidden_layers)"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["2", "1"]


def test_code_of_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    make_model(tmp_path)
    ran = tmp_path / "ran"
    (tmp_path / "modeling_odd.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {
        "model_type": "odd",
        "architectures": ["OddModel"],
        "auto_map": {"AutoConfig": "modeling_odd.OddConfig", "AutoModelForCausalLM": "modeling_odd.OddModel"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(SettingsError, match="cannot be loaded"):
        LocalModel.load(spec(tmp_path))
    assert not ran.exists()


def test_a_checkpoint_that_is_not_there_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be loaded"):
        LocalModel.load(spec(tmp_path / "nothing"))


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtraError, match=rf"needs the package {package}\..*pip install 'karma\[local\]'"):
        LocalModel.load(spec(folder, dtype="float64"))  # another type, so that it is not loaded already


def test_a_wrong_number_of_threads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KARMA_TORCH_THREADS", "many")

    with pytest.raises(SettingsError, match="KARMA_TORCH_THREADS is 'many'"):
        LocalModel.load(spec(tmp_path))


def test_the_backend_hands_on_every_batch_as_it_is_done(folder: Path) -> None:
    items = [GenerateItem(n, n, 0, n, chat(text)) for n, text in enumerate(TEXTS)]

    groups = list(TransformersBackend().answer(spec(folder, concurrency=2), items))

    assert [len(group) for group in groups] == [2, 2, 1]
    assert sorted(answer.item for group in groups for answer in group) == [0, 1, 2, 3, 4]
    assert all(answer.latency_s is not None for group in groups for answer in group)


def scripted(local: LocalModel, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have the model write a text, whatever it is asked."""
    tokens = torch.tensor([make_tokenizer()(text)["input_ids"]])

    def generate(input_ids: torch.Tensor, max_new_tokens: int, **_more: object) -> torch.Tensor:
        return torch.cat([input_ids, tokens[:, :max_new_tokens].expand(len(input_ids), -1)], dim=1)

    monkeypatch.setattr(local._model, "generate", generate)


def test_a_response_that_is_cut_at_its_limit_is_a_failure(local: LocalModel, folder: Path) -> None:
    found = generated(local, [chat("a")], spec(folder, on_length="fail"))[0]

    assert (found.text, found.kind, found.finish_reason) == (None, "unfinished", "length")
    assert "finish_reason length at 8 tokens (max_tokens 8, a context of 96)" in (found.failure or "")


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("<think>Hm.</think>\n\nYes.<|end|>", "Yes.", "Hm."),
        ("Hm.</think>Yes.<|end|>", "Yes.", "Hm."),
        ("Yes.<|end|>", "Yes.", None),
    ],
)
def test_the_reasoning_of_a_local_model_is_apart(
    local: LocalModel,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    answer: str,
    reasoning: str | None,
) -> None:
    scripted(local, monkeypatch, text)

    found = generated(local, [chat("a")], spec(folder, max_tokens=60))[0]

    assert (found.text, found.reasoning, found.finish_reason) == (answer, reasoning, "stop")


def test_reasoning_that_the_chat_template_opened_and_the_limit_cut_is_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path)
    make_tokenizer(TEMPLATE + "{% if add_generation_prompt %}<think>\n{% endif %}").save_pretrained(tmp_path)
    local = LocalModel.load(spec(tmp_path))
    scripted(local, monkeypatch, "Okay, so I should think about it")

    found = generated(local, [chat("a")], spec(tmp_path, max_tokens=20))[0]

    assert (found.text, found.kind, found.reasoning) == (None, "unfinished", "Okay, so I should th")


def test_settings_that_are_default_are_those_of_the_checkpoint(
    local: LocalModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def generate(input_ids: torch.Tensor, **more: object) -> torch.Tensor:
        asked.append(more)
        return input_ids

    monkeypatch.setattr(local._model, "generate", generate)
    quiet = {"temperature": "default", "top_p": "default", "max_tokens": "default", "seed": "default"}

    generated(local, [chat("a")], spec(folder, **quiet))

    assert asked[0].keys() == {"attention_mask", "max_new_tokens", "pad_token_id"}
    assert asked[0]["max_new_tokens"] == CONTEXT - len(prompt_ids("a"))
