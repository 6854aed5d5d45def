"""What every provider on this machine promises, against one plain forward pass per prompt and form.

Models are tiny: the embedded one, and random ones of several architectures that are made here.
"""

import asyncio
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest

from icm_api.errors import ConfigError, LogprobsUnavailableError, ProviderError
from icm_api.model import open_model
from icm_api.model.endpoints.pocket import PocketEndpoint
from icm_api.model.options import LocalOptions
from icm_api.model.reading.local import ReadsForms
from icm_api.model.reading.reading import forms_of as forms_of_labels
from icm_api.model.request import Body, Endpoint, Request, Response
from icm_api.pocket.model import WEIGHTS, PocketModel
from icm_api.types import Answers, Prompt, Turn, Usage, Verbalizer

LOCAL = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "tokenizers"))
needs_local = pytest.mark.skipif(not LOCAL, reason="torch and transformers are not installed")

ONE_TOKEN = Verbalizer.plain(["True", "False"])
# The embedded model writes these as bytes, and two of them begin with the same bytes.
LONG = Verbalizer({"yes": [" correct", " surely so"], "no": [" corrupt"]})

CORPUS = [
    "The claim is True.",
    "The claim is False.",
    "Is it so? Yes, surely it is so.",
    "Is it so? No, it is not so.",
    "A longer text about nothing much, with numbers 1 2 3 and more words than one would want to read.",
]


def prompt(query: str, turns: Sequence[tuple[str, str]] = (), verbalizer: Verbalizer = ONE_TOKEN) -> Prompt:
    return Prompt("Judge each claim.", tuple(Turn(*turn) for turn in turns), query, verbalizer)


def leave_one_out(count: int, verbalizer: Verbalizer) -> list[Prompt]:
    """Prompts that each hold all other claims, sharing beginnings as divide and conquer does."""
    claims = [f"Claim {at}: {at} + {at % 3} = {at + 2}. I say" for at in range(count)]
    answers = [verbalizer.written(verbalizer.labels[at % 2]) for at in range(count)]

    def contexts(left: list[int], before: list[int]) -> Iterator[tuple[int, list[int]]]:
        if len(left) == 1:
            yield left[0], before
            return
        half = len(left) // 2
        yield from contexts(left[:half], before + left[half:])
        yield from contexts(left[half:], before + left[:half])

    return [
        prompt(claims[query], [(claims[at], answers[at]) for at in others], verbalizer)
        for query, others in contexts(list(range(count)), [])
    ]


MIXED = [
    *leave_one_out(4, ONE_TOKEN),
    *leave_one_out(3, LONG),
    prompt("short"),
    prompt("shorter", verbalizer=LONG),
    # One prompt is the beginning of another one.
    Prompt("", (), "Claim", ONE_TOKEN),
    Prompt("", (), "Claim is this: it is", ONE_TOKEN),
    # Cuts at which a tokenizer may join the pieces.
    Prompt("Say", (Turn("a b", " True"), Turn("c", " False")), "d", ONE_TOKEN, separator=" "),
    Prompt("Say", (Turn("a", " True"),), "Claim", ONE_TOKEN, separator=""),
]


def forms_of(one: Prompt) -> list[str]:
    return forms_of_labels(one.verbalizer)


class Together:
    """A client that sends all at once; implements `Asks`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
        responses = await self._endpoint.send(requests)
        for request, response in zip(requests, responses, strict=True):
            request.accept(response.body)
        return Answers(tuple(response.body for response in responses))


def ask(provider: Endpoint, prompts: Sequence[Prompt]) -> list[dict[str, float]]:
    """What a provider reads for each prompt, with nothing between it and its model."""

    readings = asyncio.run(ReadsForms(provider).read(prompts, Together(provider)))
    return [{form: value for form, value in r.forms.items() if isinstance(value, float)} for r in readings]


# Providers and their oracles


def pocket_oracle(model: PocketModel, one: Prompt) -> dict[str, float]:
    """Each form by itself: the whole text through the model, the label tokens' logprobs summed."""
    start = len(model.encode(one.text))
    return {form: float(model.token_logprobs(model.encode(one.text + form))[start:].sum()) for form in forms_of(one)}


def torch_oracle(directory: Path, one: Prompt) -> dict[str, float]:
    """The same by transformers: one forward pass over prompt and form, no cache, no batch, no padding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    before = tokenizer("")["input_ids"][:1]
    plain = before + tokenizer(one.text, add_special_tokens=False)["input_ids"]
    whole = {form: before + tokenizer(one.text + form, add_special_tokens=False)["input_ids"] for form in forms_of(one)}
    start = len(plain)
    while any(ids[:start] != plain[:start] for ids in whole.values()):
        start -= 1
    result = {}
    for form, ids in whole.items():
        with torch.no_grad():
            logprobs = torch.log_softmax(network(torch.tensor([ids])).logits[0].double(), dim=-1)
        result[form] = sum(float(logprobs[at - 1, ids[at]]) for at in range(start, len(ids)))
    return result


def make_model(directory: Path, architecture: str, special: str = "$A", window: int = 512) -> Path:
    """A random model with a BPE tokenizer trained on five sentences."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=special, special_tokens=[("<s>", 0), ("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", model_max_length=window
    )
    sizes = {
        "vocab_size": len(fast),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "max_position_embeddings": window,
    }
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
    configs: dict[str, Callable[[], Any]] = {
        "llama": lambda: transformers.LlamaConfig(**sizes, **heads),
        "sliding": lambda: transformers.MistralConfig(**sizes, **heads, sliding_window=8),
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=len(fast), n_embd=32, n_layer=2, n_head=4, n_positions=window
        ),
        "mamba": lambda: transformers.MambaConfig(
            vocab_size=len(fast), hidden_size=32, num_hidden_layers=2, state_size=4
        ),
    }
    torch.manual_seed(0)
    # Untrained weights are near zero, and so are differences between prompts: spread them.
    network = transformers.AutoModelForCausalLM.from_config(configs[architecture]())
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    network.save_pretrained(directory)
    fast.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    if not LOCAL:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    made: dict[tuple[str, ...], Path] = {}

    def make(architecture: str, special: str = "<s> $A") -> Path:
        if architecture == "pocket":
            return WEIGHTS
        if (architecture, special) not in made:
            directory = tmp_path_factory.mktemp(architecture)
            made[architecture, special] = make_model(directory, architecture, special)
        return made[architecture, special]

    return make


Opened = tuple[Endpoint, Callable[[Prompt], dict[str, float]], float]


@pytest.fixture(
    scope="module",
    params=["pocket", *(pytest.param(f"hf-{name}", marks=needs_local) for name in ("pocket", "llama"))],
)
def opened(request: pytest.FixtureRequest, models: Callable[..., Path]) -> Opened:
    """A provider, its oracle, and how far they may be apart: half of the last decimal, and float32."""
    if request.param == "pocket":
        model = PocketModel.load()
        return PocketEndpoint(model), lambda one: pocket_oracle(model, one), 1e-6
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    directory = models(request.param.removeprefix("hf-"))
    return HuggingFaceEndpoint(str(directory)), lambda one: torch_oracle(directory, one), 1e-4


# What all promise


def test_logprobs_equal_those_of_one_plain_forward_pass_per_form(opened: Opened) -> None:
    provider, oracle, tolerance = opened
    for one, answer in zip(MIXED, ask(provider, MIXED), strict=True):
        assert list(answer) == forms_of(one)
        assert answer == pytest.approx(oracle(one), abs=tolerance)


def test_company_and_order_do_not_shape_an_answer(opened: Opened) -> None:
    provider, _, tolerance = opened
    together = ask(provider, MIXED)
    backwards = ask(provider, MIXED[::-1])[::-1]
    for one, answer, other in zip(MIXED, together, backwards, strict=True):
        (alone,) = ask(provider, [one])
        step = 0 if provider.capabilities.deterministic else tolerance
        # Beside one step of rounding, float32 itself: logprobs of -200 have fewer exact decimals.
        relative = 0 if provider.capabilities.deterministic else 2e-6
        assert answer == pytest.approx(alone, abs=step, rel=relative)
        assert answer == pytest.approx(other, abs=step)


def test_the_request_is_json_and_holds_all_that_shapes_the_answer() -> None:
    one = prompt("Claim: it is so", [("Claim: 1", " True")])
    body = ReadsForms(PocketEndpoint()).request(one).body
    assert json.loads(json.dumps(body)) == body == ReadsForms(PocketEndpoint()).request(one).body
    other_label = prompt("Claim: it is so", [("Claim: 1", " False")])
    other_forms = prompt("Claim: it is so", [("Claim: 1", " True")], LONG)
    bodies = [json.dumps(ReadsForms(PocketEndpoint()).request(p).body) for p in (one, other_label, other_forms)]
    assert len(set(bodies)) == 3


def test_the_response_is_json_with_usage(opened: Opened) -> None:
    provider, _, _ = opened
    one = prompt("Claim: it is so")
    (response,) = asyncio.run(provider.send([ReadsForms(PocketEndpoint()).request(one)]))
    assert json.loads(json.dumps(response.body)) == response.body
    assert response.usage == Usage(1, 1 + provider.count_tokens(one.text), 0)


def test_nothing_asked_nothing_answered(opened: Opened) -> None:
    assert ask(opened[0], []) == []


def test_defect_3_a_prompt_that_does_not_fit_is_refused_and_never_cut(opened: Opened) -> None:
    provider, oracle, tolerance = opened
    window = provider.capabilities.context_window
    filler = next(text for text in (" .", " a", "!") if provider.count_tokens(text * 9) == 9)
    room = window - max(provider.count_tokens(form) for form in forms_of(prompt("")))
    fits = Prompt("", (), filler * room, ONE_TOKEN)
    (answer,) = ask(provider, [fits])
    assert answer == pytest.approx(oracle(fits), abs=5 * tolerance)
    with pytest.raises(ProviderError, match="context window"):
        ask(provider, [prompt("short"), Prompt("", (), filler * (room + 1), ONE_TOKEN)])


def test_a_body_without_logprobs_is_refused(opened: Opened) -> None:
    provider, _, _ = opened
    with pytest.raises(LogprobsUnavailableError, match=provider.identity.split("/")[0]):
        ReadsForms(provider).request(prompt("x")).accept({"logprobs": None})


def test_through_the_client(opened: Opened) -> None:
    identity = opened[0].identity
    spec = "pocket" if identity.startswith("pocket/") else f"huggingface:{WEIGHTS}"
    oracle = pocket_oracle(PocketModel.load(), prompt("Claim: it is so"))

    async def one() -> float:
        async with open_model(spec) as client:
            (answer,) = await client.label_distributions([prompt("Claim: it is so")])
            return answer.probability("True")

    true, false = exp(oracle[" True"]), exp(oracle[" False"])
    assert asyncio.run(one()) == pytest.approx(true / (true + false), abs=1e-4)


# Inside a prompt

INSIDE = [
    leave_one_out(5, ONE_TOKEN)[0],
    leave_one_out(4, LONG)[1],
    # An answer that is no form, one that is written in another way, and a prompt without a query.
    Prompt("", (Turn("a", " maybe"), Turn("b", " False"), Turn("", "\nTrue")), "", ONE_TOKEN, "\n"),
    # Cuts at which a tokenizer may join the pieces.
    Prompt(
        "Say", (Turn("it is (", "True"), Turn("c (", "False")), "d", Verbalizer({"t": ["True"], "f": ["False"]}), " "
    ),
    Prompt("", (Turn("a b", " True"), Turn("c", " False")), "d", ONE_TOKEN, separator=""),
]


def beginnings(one: Prompt) -> list[Prompt]:
    """Per turn, what stands before its answer."""
    return [replace(one, turns=one.turns[:at], query=turn.text) for at, turn in enumerate(one.turns)]


def ask_inside(provider: Endpoint, prompts: Sequence[Prompt]) -> list[list[dict[str, Any]]]:
    readings = asyncio.run(ReadsForms(provider).read_inside(prompts, Together(provider)))
    return [[dict(reading.forms) for reading in turns] for turns in readings]


def check_inside(provider: Endpoint, prompts: Sequence[Prompt], tolerance: float) -> None:
    for one, turns in zip(prompts, ask_inside(provider, prompts), strict=True):
        assert len(turns) == len(one.turns)
        for known, found in zip(ask(provider, beginnings(one)), turns, strict=True):
            assert list(found) == forms_of(one)
            assert found == pytest.approx(known, abs=tolerance)


def test_inside_a_prompt_every_form_is_as_probable_as_after_the_same_beginning() -> None:
    check_inside(PocketEndpoint(), INSIDE, 1e-6)


@needs_local
@pytest.mark.parametrize("architecture", ["llama", "sliding", "gpt2", "mamba"])
def test_transformers_read_inside_a_prompt_what_they_read_after_its_beginnings(
    architecture: str, models: Callable[..., Path]
) -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    provider = HuggingFaceEndpoint(str(models(architecture)), LocalOptions(dtype="float64"))
    # At some of these a label changes the tokens of what stands before it.
    re_cut = [
        Prompt(
            "", (Turn(CORPUS[3][:at], CORPUS[3][at : at + 4]),) * 2, "", Verbalizer({"a": [CORPUS[3][at]], "b": ["!"]})
        )
        for at in range(len(CORPUS[3]) - 8, len(CORPUS[3]))
        if CORPUS[3][at].strip()
    ]
    check_inside(provider, [*INSIDE, *re_cut], 1e-4)


def test_pocket_reads_one_token_labels_inside_a_prompt_in_one_pass() -> None:
    model, computed = PocketModel.load(), list[int]()
    forward = model._forward

    def counted(nodes: Any, wanted: Any) -> Any:
        computed.append(sum(len(node.tokens) for node in nodes))
        return forward(nodes, wanted)

    model._forward = counted  # type: ignore[method-assign]
    one = replace(INSIDE[0], query="")
    ask_inside(PocketEndpoint(model), [one])
    text = beginnings(one)[-1].text
    assert computed == [1 + len(model.encode(text))]
    # Longer forms fork off, each of their distinct beginnings computed once at every answer.
    computed.clear()
    ask_inside(PocketEndpoint(model), [INSIDE[1]])
    tree = {
        tokens[:at] for form in forms_of(INSIDE[1]) for tokens in [model.encode(form)] for at in range(1, len(tokens))
    }
    assert computed[0] >= 1 + len(model.encode(beginnings(INSIDE[1])[-1].text))
    assert sum(computed) == 1 + len(model.encode(beginnings(INSIDE[1])[-1].text)) + len(INSIDE[1].turns) * len(tree)


@needs_local
def test_transformers_read_one_token_labels_inside_a_prompt_in_one_pass(models: Callable[..., Path]) -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    provider = HuggingFaceEndpoint(str(models("pocket")))
    computed: list[tuple[int, int]] = []
    provider._scorer._network.register_forward_pre_hook(
        lambda _module, _args, given: computed.append((given["input_ids"].numel(), len(given["logits_to_keep"]))),
        with_kwargs=True,
    )
    ask_inside(provider, [INSIDE[0]])
    text = beginnings(INSIDE[0])[-1].text
    assert computed == [(1 + provider.count_tokens(text), len(INSIDE[0].turns))]


def test_a_request_inside_a_prompt_holds_what_shapes_the_answer_and_no_more() -> None:
    one, reader = prompt("next", [("Claim: 1", " True"), ("Claim: 2", " False")]), ReadsForms(PocketEndpoint())
    body = reader.request_inside(one).body
    assert body == json.loads(json.dumps(body)) != reader.request(one).body
    last = (*one.turns[:-1], Turn("Claim: 2", " True"))
    assert reader.request_inside(replace(one, query="", turns=last)).body == body
    first = (Turn("Claim: 1", " False"), *one.turns[1:])
    assert reader.request_inside(replace(one, turns=first)).body != body


def test_an_answer_inside_a_prompt_with_too_few_places_is_refused() -> None:
    request = ReadsForms(PocketEndpoint()).request_inside(prompt("x", [("a", " True"), ("b", " False")]))
    fine = {" True": -1.0, " False": -1.0}
    request.accept({"logprobs": [fine, fine]})
    for wrong in ([fine], [fine, {" True": -1.0}], None, [fine, None]):
        with pytest.raises(LogprobsUnavailableError, match=r"each of 2 turns|' False'|no 'logprobs'"):
            request.accept({"logprobs": wrong})


def test_a_prompt_without_turns_has_nothing_inside() -> None:
    provider = PocketEndpoint()
    assert ask_inside(provider, [prompt("x"), INSIDE[0]])[0] == []
    assert ask_inside(provider, []) == []


# The embedded model


def test_pocket_bytes_do_not_depend_on_the_batch() -> None:
    provider = PocketEndpoint()
    requests = [ReadsForms(PocketEndpoint()).request(one) for one in MIXED]
    together = asyncio.run(provider.send(requests))
    alone: list[Response] = []
    for request in requests:
        alone += asyncio.run(provider.send([request]))
    assert json.dumps([r.body for r in together]) == json.dumps([r.body for r in alone])


def test_pocket_asks_the_model_once_and_only_for_the_sequences_it_needs() -> None:
    model = PocketModel.load()
    asked: list[int] = []
    whole = model.next_token_logprobs

    def counted(sequences: Any) -> Any:
        asked.append(len(sequences))
        return whole(sequences)

    model.next_token_logprobs = counted  # type: ignore[method-assign]
    forms = [model.encode(form) for form in forms_of(prompt("", verbalizer=LONG))]
    beginnings = {form[:at] for form in forms for at in range(len(form))}
    ask(PocketEndpoint(model), [prompt("a"), prompt("b"), prompt("c", verbalizer=LONG)])
    # One for each prompt of one-token labels; for the long forms one for each distinct beginning of a form.
    assert asked == [2 + len(beginnings)]


def test_pocket_refuses_a_form_that_shares_a_token_with_the_prompt() -> None:
    melting = Verbalizer({"True": ["ue"], "False": ["!"]})
    for parts in (prompt("it is Tr", verbalizer=melting), Prompt("it is Tr", (), "", melting, separator="")):
        with pytest.raises(ProviderError, match=r"'ue' shares a token with the end of the prompt.*begin the form"):
            ask(PocketEndpoint(), [parts])
    apart = prompt("it is (", verbalizer=Verbalizer({"True": ["True"], "False": ["False"]}))
    (answer,) = ask(PocketEndpoint(), [apart])
    assert answer == pytest.approx(pocket_oracle(PocketModel.load(), apart), abs=1e-6)


def test_pocket_identity_names_the_weights() -> None:
    assert PocketEndpoint().identity == f"pocket/{PocketModel.load().name}"


# transformers


@needs_local
def test_both_providers_agree_on_the_same_weights() -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    hugging = HuggingFaceEndpoint(str(WEIGHTS))
    pocket = PocketEndpoint()
    assert hugging.capabilities.context_window == pocket.capabilities.context_window
    for one, other in zip(ask(pocket, MIXED), ask(hugging, MIXED), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@needs_local
@pytest.mark.parametrize("architecture", ["llama", "sliding", "gpt2", "mamba"])
def test_every_batch_size_gives_the_oracles_numbers(architecture: str, models: Callable[..., Path]) -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    directory = models(architecture)
    few = MIXED[::3]
    expected = [torch_oracle(directory, one) for one in few]
    assert len({round(answer[form], 3) for answer in expected for form in answer}) > len(few)
    answers = []
    for batch_size in (1, 3, 64):
        provider = HuggingFaceEndpoint(str(directory), LocalOptions(dtype="float64", batch_size=batch_size))
        assert provider.capabilities.deterministic
        assert provider._scorer._shares == (architecture != "mamba")
        answers.append(ask(provider, few))
        for one, other in zip(answers[-1], expected, strict=True):
            assert one == pytest.approx(other, abs=5.1e-5)
    assert answers[0] == answers[1] == answers[2]


@needs_local
@pytest.mark.parametrize("special", ["$A", "<s> $A", "<s> $A </s>", "$A </s>"])
def test_bos_is_added_as_the_tokenizer_does_and_eos_never(special: str, models: Callable[..., Path]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    directory = models("llama", special)
    one = prompt("Is it so", verbalizer=LONG)
    network, tokenizer = (
        AutoModelForCausalLM.from_pretrained(directory),
        AutoTokenizer.from_pretrained(directory),
    )
    (answer,) = ask(HuggingFaceEndpoint(str(directory)), [one])
    for form, value in answer.items():
        text, whole = (tokenizer.encode(x, add_special_tokens=False) for x in (one.text, one.text + form))
        ids = [0] * ("<s>" in special) + whole
        with torch.no_grad():
            logprobs = torch.log_softmax(network(torch.tensor([ids])).logits[0], dim=-1)
        places = range(len(ids) - len(whole) + len(text), len(ids))
        assert value == pytest.approx(sum(float(logprobs[at - 1, ids[at]]) for at in places), abs=1e-4)


@needs_local
def test_a_shared_beginning_is_computed_once(models: Callable[..., Path]) -> None:
    from transformers import AutoTokenizer

    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    directory = models("llama")
    provider = HuggingFaceEndpoint(str(directory), LocalOptions(batch_size=1))
    prompts = leave_one_out(8, LONG)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    whole = [tuple(tokenizer.encode(one.text + form)) for one in prompts for form in forms_of(one)]
    # The last token of a label is never fed; every distinct beginning of what is fed is one node of the tree.
    tree = {ids[:at] for ids in whole for at in range(1, len(ids))}
    computed: list[int] = []
    told: list[object] = [provider.under_way]
    provider._scorer._network.register_forward_pre_hook(lambda _module, _args: told.append(provider.under_way))
    provider._scorer._network.register_forward_pre_hook(
        lambda _module, _args, arguments: computed.append(arguments["input_ids"].numel()), with_kwargs=True
    )
    ask(provider, prompts)
    assert sum(computed) == len(tree)
    assert sum(computed) < 0.3 * sum(len(ids) - 1 for ids in whole)
    # How far it has come can be seen from outside while it computes, and at no other time.
    count = len(computed)
    assert [*told, provider.under_way] == [None, *((at, count) for at in range(1, count + 1)), None]


@needs_local
def test_labels_that_re_cut_the_end_of_the_prompt_are_all_scored_from_one_place(
    models: Callable[..., Path],
) -> None:
    from transformers import AutoTokenizer

    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    directory = models("llama")
    tokenizer = AutoTokenizer.from_pretrained(directory)

    def re_cuts(text: str, form: str) -> bool:
        plain = tokenizer.encode(text)
        return bool(tokenizer.encode(text + form)[: len(plain)] != plain)

    text, form = next(
        (CORPUS[3][:at], CORPUS[3][at:]) for at in range(20, 40) if re_cuts(CORPUS[3][:at], CORPUS[3][at:])
    )
    assert not re_cuts(text, "!")
    one = Prompt("", (), text, Verbalizer({"re-cut": [form], "not": ["!"]}))
    (answer,) = ask(HuggingFaceEndpoint(str(directory)), [one])
    assert answer == pytest.approx(torch_oracle(directory, one), abs=1e-4)


@needs_local
def test_forms_that_are_the_same_tokens_are_refused(tmp_path: Path) -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    make_model(tmp_path, "llama", "<s> $A")
    description = json.loads((tmp_path / "tokenizer.json").read_text())
    description["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    same = Verbalizer({"True": [" True", " true"], "False": [" False"]})
    with pytest.raises(ProviderError, match="' True' begins form ' true' or equals it"):
        ask(HuggingFaceEndpoint(str(tmp_path)), [prompt("it is", verbalizer=same)])


@needs_local
def test_a_label_with_nothing_before_it_is_refused(models: Callable[..., Path]) -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    provider = HuggingFaceEndpoint(str(models("llama", "$A")))
    with pytest.raises(ProviderError, match="no BOS"):
        ask(provider, [Prompt("", (), "", ONE_TOKEN)])


# Text


def written(
    directory: Path, texts: Sequence[str], samples: int = 1, *, most: int = 4, temperature: float = 1.0, **options: Any
) -> list[list[str]]:
    async def asked() -> list[list[str]]:
        given = {"dtype": "float64", **options}
        async with open_model(f"huggingface:{directory}", options=given) as model:
            assert model.capabilities.generates
            found = await model.generate(texts, max_tokens=most, temperature=temperature, samples=samples)
            assert found.usage.requests == len(texts) * samples
            assert 0 < found.usage.completion_tokens <= most * samples * len(texts)
            return [list(each) for each in found]

    return asyncio.run(asked())


@needs_local
@pytest.mark.parametrize("architecture", ["llama", "mamba"])
def test_a_text_depends_on_its_prompt_and_number_alone(architecture: str, models: Callable[..., Path]) -> None:
    directory, texts = models(architecture), ["Is it so?", "The claim is", "A longer text about nothing"]
    together = written(directory, texts, 3)
    assert len({text for each in together for text in each}) == 9
    assert written(directory, texts[::-1], 3, batch_size=2)[::-1] == together
    assert written(directory, texts[1:2], 2) == [together[1][:2]]
    assert written(directory, texts[:1], most=2)[0][0] != together[0][0]


@needs_local
def test_a_text_at_temperature_0_is_the_likeliest(models: Callable[..., Path]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = models("llama")
    network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    ids = tokenizer.encode("Is it so?")
    for _ in range(4):
        with torch.no_grad():
            ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
    expected = tokenizer.decode(ids[-4:], skip_special_tokens=True)
    assert written(directory, ["Is it so?"], 2, temperature=0.0) == [[expected] * 2]


@needs_local
def test_tokens_are_drawn_by_their_probabilities(models: Callable[..., Path]) -> None:
    import torch

    from icm_api.model.endpoints.local_writing import _Noise

    for temperature in (1.0, 0.5):
        noise = _Noise(torch, range(4000), temperature)
        drawn = noise(None, torch.tensor([[0.5, 0.3, 0.2]]).log().expand(4000, -1)).argmax(dim=-1)
        shares = [p ** (1 / temperature) for p in (0.5, 0.3, 0.2)]
        for token, share in enumerate(shares):
            assert float((drawn == token).float().mean()) == pytest.approx(share / sum(shares), abs=0.04)


@needs_local
def test_the_chat_template_is_used_if_an_option_says_so(tmp_path: Path) -> None:
    directory = make_model(tmp_path, "llama", "<s> $A")
    with pytest.raises(ConfigError, match="no chat template"):
        open_model(f"huggingface:{directory}", options={"chat_template": True})
    config = json.loads((directory / "tokenizer_config.json").read_text())
    template = "<s>{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\nanswer:{% endfor %}"
    (directory / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}))
    reply = written(directory, ["Is it so?"], temperature=0.0, chat_template=True)
    assert reply == written(directory, ["user: Is it so?\nanswer:"], temperature=0.0)
    assert reply != written(directory, ["Is it so?"], temperature=0.0)


@needs_local
def test_a_reply_that_could_outgrow_the_window_is_refused(models: Callable[..., Path]) -> None:
    with pytest.raises(ProviderError, match=r"a reply of up to 600 don't fit the context window of 512"):
        written(models("llama"), ["Is it so?"], most=600)


@needs_local
def test_identity_is_of_the_weights_and_not_of_the_place(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    one, moved = make_model(tmp_path / "a" / "m", "llama"), make_model(tmp_path / "b" / "m", "llama")
    identity = HuggingFaceEndpoint(str(one)).identity
    assert identity.startswith("huggingface/m@")
    assert HuggingFaceEndpoint(str(moved)).identity == identity
    tensors = load_file(moved / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    tensors[name] = tensors[name] + 1e-3 * torch.ones_like(tensors[name])
    save_file(tensors, moved / "model.safetensors", metadata={"format": "pt"})
    assert HuggingFaceEndpoint(str(moved)).identity != identity
    assert HuggingFaceEndpoint(str(one), LocalOptions(dtype="bfloat16")).identity != identity


@needs_local
def test_a_directory_without_a_model_is_named(tmp_path: Path) -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    with pytest.raises(ProviderError, match=f"(?s){tmp_path}.*config.json") as caught:
        HuggingFaceEndpoint(str(tmp_path))
    assert caught.value.__cause__ is not None


@needs_local
def test_unusable_arguments_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"option 'dtype': .*'bfloat16'.*, got 'int8'"):
        open_model(f"huggingface:{tmp_path}", options={"dtype": "int8"})
    with pytest.raises(ConfigError, match="option 'batch_size'"):
        open_model(f"huggingface:{tmp_path}", options={"batch_size": 0})


@needs_local
def test_tokens_are_counted_and_the_window_is_known_without_the_weights(tmp_path: Path) -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    directory = make_model(tmp_path / "m", "llama")
    whole = HuggingFaceEndpoint(str(directory))
    count, capabilities, _ = whole.count_tokens("The claim is True."), whole.capabilities, whole.identity
    (directory / "model.safetensors").unlink()
    without = HuggingFaceEndpoint(str(directory))
    assert (without.count_tokens("The claim is True."), without.capabilities) == (count, capabilities)
    with pytest.raises(ProviderError, match=f"(?s)cannot load .*{directory.name}.*safetensors"):
        assert without.identity


@needs_local
def test_weights_are_computed_in_the_type_they_are_kept_in_and_load_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    directory = make_model(tmp_path / "m", "llama")
    plain = HuggingFaceEndpoint(str(directory)).identity
    assert HuggingFaceEndpoint(str(directory), LocalOptions(dtype="float32")).identity == plain
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(directory / "model.safetensors").items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16", "torch_dtype": "bfloat16"}))
    capfd.readouterr()
    kept = HuggingFaceEndpoint(str(directory)).identity
    assert kept == HuggingFaceEndpoint(str(directory), LocalOptions(dtype="bfloat16")).identity != plain
    assert capfd.readouterr().err == ""


@needs_local
async def test_a_round_under_way_is_left_between_two_forward_passes(tmp_path: Path) -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    endpoint = HuggingFaceEndpoint(str(make_model(tmp_path / "m", "llama")), LocalOptions(batch_size=1))
    task = asyncio.create_task(endpoint.send([ReadsForms(endpoint).request(one) for one in MIXED]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_a_missing_library_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint

    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ProviderError, match=r"pip install 'icm-api\[local\]'"):
        HuggingFaceEndpoint(str(WEIGHTS))
