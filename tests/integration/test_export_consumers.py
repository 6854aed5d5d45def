"""Every export opened by the reader that it is for: datasets, pandas, cleanlab, TRL, Together's own check.

Each is skipped where its package is missing. All of them:
`pip install '.[local,hub,export]' pandas cleanlab trl together`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icm_api.export import FormatName, LabelledData, Options, export_labels
from icm_api.types import Verbalizer
from tests.labelled import NASTY, claims, line, reply_pairs, result_of, with_line

CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
JSONL: tuple[FormatName, ...] = (
    "openai-sft",
    "together-sft",
    "fireworks-sft",
    "openai-dpo",
    "trl-sft",
    "trl-dpo",
    "trl-reward",
)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hugging Face packages that ask no server and keep what they make with the test."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("WANDB_DISABLED", "true")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def loaded(folder: Path, tmp_path: Path) -> Any:
    """A data set as anyone would load it."""
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


@pytest.mark.usefixtures("offline")
def test_datasets_loads_the_folder_with_its_splits_and_types(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    data = with_line(claims(NASTY), 3, fixed=True)
    export_labels(data, "hf-dataset", tmp_path / "out", Options(split=0.8, soft=True))
    found = loaded(tmp_path / "out", tmp_path)
    assert {name: len(part) for name, part in found.items()} == {"train": 8, "validation": 2}
    rows = sorted([*found["train"], *found["validation"]], key=lambda row: row["id"])
    assert [row["text"] for row in rows] == list(NASTY)
    assert [row["label"] for row in rows] == ["True", "False"] * 5
    assert [row["fixed"] for row in rows] == [at == 3 for at in range(10)]
    assert rows[0] == {
        "id": "c0",
        "group": "g0",
        "text": NASTY[0],
        "label": "True",
        "probability": 0.9,
        "p_True": 0.9,
        "p_False": 0.1,
        "coverage": 0.99,
        "fixed": False,
        "abstained": False,
    }


def test_the_data_card_is_valid_and_says_where_the_labels_are_from(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    hub = pytest.importorskip("huggingface_hub")
    diagnosis = {"verdict": "not salient", "reasons": ["<script>|`x`", "two\nlines"]}
    data = with_line(claims("abcd", instruction="Judge.\n```\n{x}"), 1, fixed=True)
    about = {"diagnosis": diagnosis, "search": {"engine": "gibbs", "seed": 4, "start": "/home/me/secret"}}
    data = LabelledData(
        data.dataset,
        result_of(data.result.examples, about),
        data.template,
        data.verbalizer,
        model="huggingface//home/me/m@1",
    )
    export_labels(data, "hf-dataset", tmp_path / "out", Options(abstain_below=0))
    card = hub.DatasetCard.load(tmp_path / "out" / "README.md")
    assert card.data.configs == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train.parquet"}]}
    ]
    assert card.data.annotations_creators == ["machine-generated", "expert-generated"]
    text = card.text
    for words in (
        "No human labelled these data, apart from 1 of the 4 examples, whose labels a person fixed.",
        "| model | huggingface/m@1 |",
        "| search.engine | gibbs |",
        "| search.seed | 4 |",
        "| U(D) | -1.5 |",
        "| cost | 10 requests, 2,000 prompt tokens |",
        "**not coherent, unchecked**",
        "- &lt;script&gt;\\|\\`x\\`",
        "- two lines",
        "````text\nJudge.\n```\n{x}\n\nClaim: {text}\nIt is\n````",
    ):
        assert words in text
    assert "/home/me" not in text
    assert "<script>" not in text


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("to", JSONL)
def test_datasets_loads_json_lines_as_they_were_written(to: FormatName, tmp_path: Path) -> None:
    export_labels(claims(NASTY), to, tmp_path / "out", Options(split=0.8))
    found = loaded(tmp_path / "out", tmp_path)
    assert {name: len(part) for name, part in found.items()} == {"train": 8, "validation": 2}
    said = repr([*found["train"], *found["validation"]])
    assert all(repr(text)[1:-1] in said or repr(f'{text}"')[1:-2] in said for text in NASTY)


def test_pandas_reads_tables_as_they_were_written(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    data = claims(NASTY)
    export_labels(data, "csv", tmp_path / "csv", Options(soft=True))
    table = pandas.read_csv(tmp_path / "csv" / "train.csv", dtype=str, keep_default_na=False)
    assert table["text"].tolist() == list(NASTY)
    assert table["label"].tolist() == ["True", "False"] * 5
    assert table["p_True"].astype(float).tolist() == [0.9, 0.1] * 5
    pytest.importorskip("pyarrow")
    export_labels(data, "parquet", tmp_path / "parquet", Options(soft=True))
    table = pandas.read_parquet(tmp_path / "parquet" / "train.parquet")
    assert table["text"].tolist() == list(NASTY)
    assert table["abstained"].tolist() == [False] * 10
    assert table["p_True"].tolist() == [0.9, 0.1] * 5


def test_cleanlab_finds_the_label_that_the_others_contradict(tmp_path: Path) -> None:
    cleaning = pytest.importorskip("cleanlab.filter")
    labels = ("bad", "so-so", "good")
    examples = claims(map(str, range(60))).dataset
    lines = [line(each, labels[at % 3], 0.94, labels) for at, each in enumerate(examples)]
    # One label is not what the model predicts from all the others.
    lines[7] = replace(lines[7], label="good", probability=0.03)
    data = LabelledData(examples, result_of(lines), claims("a").template, Verbalizer.plain(labels))
    export_labels(data, "cleanlab", tmp_path / "out")
    with np.load(tmp_path / "out" / "train.npz", allow_pickle=False) as arrays:
        found = cleaning.find_label_issues(
            arrays["labels"], arrays["pred_probs"], return_indices_ranked_by="self_confidence", n_jobs=1
        )
        assert arrays["ids"][found].tolist() == ["c7"]


@pytest.mark.parametrize("to", ["openai-sft", "azure-sft", "together-sft", "fireworks-sft", "openai-dpo"])
@pytest.mark.parametrize("pairs", [False, True])
def test_messages_are_of_the_types_of_openais_sdk(to: FormatName, pairs: bool, tmp_path: Path) -> None:
    from openai.types.chat import ChatCompletionMessageParam
    from pydantic import TypeAdapter

    export_labels(reply_pairs(["AB", "BA"]) if pairs else claims(NASTY, instruction="Judge."), to, tmp_path / "out")
    messages = TypeAdapter(list[ChatCompletionMessageParam])
    text = (tmp_path / "out" / "train.jsonl").read_text(encoding="utf-8-sig")
    for row in map(json.loads, text.removesuffix("\n").split("\n")):
        if to == "openai-dpo":
            assert row.keys() == {"input", "preferred_output", "non_preferred_output"}
            parts = [row["input"]["messages"], row["preferred_output"], row["non_preferred_output"]]
        else:
            assert row.keys() == {"messages"}
            parts = [row["messages"][:-1], row["messages"][-1:]]
        for part in parts:
            # Lists of content are read lazily, and texts are left as they are.
            assert messages.dump_python(messages.validate_python(part)) == part
        assert parts[0][-1]["role"] == "user"
        assert [[each["role"] for each in part] for part in parts[1:]] == [["assistant"]] * len(parts[1:])


@pytest.mark.parametrize("to", ["together-sft", "openai-dpo"])
def test_together_finds_nothing_to_mend(to: FormatName, tmp_path: Path) -> None:
    files = pytest.importorskip("together.lib.utils.files")
    export_labels(claims(NASTY, instruction="Judge."), to, tmp_path / "out")
    report = files.check_file(tmp_path / "out" / "train.jsonl")
    assert report["is_check_passed"], report
    assert report["num_samples"] == len(NASTY)


def make_tokenizer() -> Any:
    """A byte-level tokenizer with a chat template."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator(["a claim"], trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="</s>", chat_template=CHAT_TEMPLATE
    )


def make_model(folder: Path, kind: str, *, spread: float = 0.02) -> Any:
    """A tiny random Llama: a language model, or one with a single number as output. DPO reads it once more.

    Its weights are drawn with a standard deviation of `spread`. By default no change inside it makes a token much more
    likely than another, since the last layer, which is not trained, has weights too small for that.
    """
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=16,
        max_position_embeddings=512,
        num_labels=1,
        pad_token_id=1,
        initializer_range=spread,
    )
    made = getattr(transformers, kind)
    made.from_config(config).save_pretrained(folder)
    return made.from_pretrained(folder)


PAIRS = reply_pairs(["AB", "BA", "AA", "AB"])
LANGUAGE, REWARD = "AutoModelForCausalLM", "AutoModelForSequenceClassification"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("to", "data", "conversational"),
    [
        ("trl-sft", claims("abcd"), False),
        ("trl-dpo", claims("abcd"), False),
        ("trl-reward", claims("abcd"), False),
        ("openai-sft", claims("abcd"), True),
        ("trl-dpo", PAIRS, True),
        ("trl-reward", PAIRS, True),
    ],
)
def test_trl_sees_the_format_that_it_is(
    to: FormatName, data: LabelledData, conversational: bool, tmp_path: Path
) -> None:
    utils = pytest.importorskip("trl.data_utils")
    export_labels(data, to, tmp_path / "out")
    rows = loaded(tmp_path / "out", tmp_path)["train"]
    assert utils.is_conversational(rows[0]) == conversational
    if conversational:
        shown = utils.apply_chat_template(rows[0], make_tokenizer())
        assert all(isinstance(text, str) and text for text in shown.values())
    if to != "trl-sft" and to != "openai-sft":
        # Of a pair taken apart, the margin belongs to neither.
        unpaired = utils.unpair_preference_dataset(rows.select_columns([n for n in rows.column_names if n != "margin"]))
        assert len(unpaired) == 2 * len(rows)
        assert set(unpaired["label"]) == {True, False}


@pytest.mark.usefixtures("offline")
# TRL 1 sets what transformers 5 has renamed.
@pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing\\w*` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("to", "data", "verb", "kind", "trained_on"),
    [
        ("trl-sft", claims("abcd"), "SFT", LANGUAGE, " True</s>"),
        ("openai-sft", claims("abcd"), "SFT", LANGUAGE, "<user>Claim: a\nIt is</s><assistant>True</s>"),
        ("trl-dpo", claims("abcd"), "DPO", LANGUAGE, " True</s> False</s>"),
        ("trl-dpo", PAIRS, "DPO", LANGUAGE, "good 0</s>bad 0</s>"),
        ("trl-reward", claims("abcd"), "Reward", REWARD, "Claim: a\nIt is True</s>Claim: a\nIt is False</s>"),
        (
            "trl-reward",
            PAIRS,
            "Reward",
            REWARD,
            "<user>Question 0?</s><assistant>good 0</s><user>Question 0?</s><assistant>bad 0</s>",
        ),
    ],
)
def test_trl_trains_a_step_on_it(
    to: FormatName, data: LabelledData, verb: str, kind: str, trained_on: str, tmp_path: Path
) -> None:
    trl = pytest.importorskip("trl")
    pytest.importorskip("accelerate")
    export_labels(data, to, tmp_path / "out")
    rows, tokenizer = loaded(tmp_path / "out", tmp_path)["train"], make_tokenizer()
    settings = getattr(trl, f"{verb}Config")(
        output_dir=str(tmp_path / "trained"),
        max_steps=1,
        per_device_train_batch_size=2,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    trainer = getattr(trl, f"{verb}Trainer")(
        model=make_model(tmp_path / "model", kind), args=settings, train_dataset=rows, processing_class=tokenizer
    )
    first = trainer.train_dataset[0]
    if verb == "SFT":
        # Only the tokens that the loss counts.
        seen = tokenizer.decode([token for token in first["labels"] if token != -100])
    else:
        seen = tokenizer.decode(first["chosen_ids"]) + tokenizer.decode(first["rejected_ids"])
    assert seen == trained_on
    assert np.isfinite(trainer.train().training_loss)
