"""Where the values of a configuration come from, and how one is changed."""

from __future__ import annotations

import json
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from icm_api.config import (
    PRESETS,
    Budget,
    CacheSection,
    Config,
    DataSection,
    ModelSection,
    Preset,
    RunSection,
    SearchSettings,
    load_config,
)
from icm_api.config.load import RENAMED
from icm_api.errors import ConfigError
from icm_api.runs import open_model

FILE = """\
[data]
path = "claims.jsonl"

[search]
steps = 3
alpha = 20

[model.options]
echo = true
extra_body = { a = 1 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "claims.toml"
    path.write_text(FILE)
    return path


def settings(text: str, variables: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a configuration with this text, under these variables of the environment."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    file = folder / "x.toml"
    file.write_text('[data]\npath = "a.jsonl"\n' + text)
    return file


def test_a_config_built_in_python_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Config(data=DataSection(path=Path("a.jsonl")))
    monkeypatch.setenv("ICM_SEARCH__STEPS", "7")
    monkeypatch.setenv("ICM_BUDGET", '{"requests": 1}')
    monkeypatch.setenv("ICM_DATA__PATH", "other.jsonl")
    assert Config(data=DataSection(path=Path("a.jsonl"))) == before
    with pytest.raises(ValueError, match="data"):
        Config()  # type: ignore[call-arg]


def test_flags_win_over_the_environment_that_over_the_file_that_over_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_SEARCH__ALPHA", "30")
    monkeypatch.setenv("ICM_SEARCH__SEED", "30")
    found = load_config(file, {"search": {"seed": 40}}).search
    assert (found.seed, found.alpha, found.steps, found.restarts) == (40, 30.0, 3, 4)
    assert load_config(file, environment=False).search == SearchSettings(steps=3, alpha=20)


@pytest.mark.parametrize(
    ("variables", "key", "value"),
    [
        ({"icm_search__steps": "9"}, "search.steps", 9),
        ({"ICM_SEARCH": '{"steps": 9, "seed": 4}', "ICM_SEARCH__STEPS": "10"}, "search.steps", 10),
        ({"ICM_SEARCH": '{"steps": 9, "seed": 4}', "ICM_SEARCH__STEPS": "10"}, "search.seed", 4),
        ({"ICM_PROMPT__LABELS": '["a", "b"]'}, "prompt.labels", ["a", "b"]),
        ({"ICM_DATA__ID": "123"}, "data.id", "123"),
        ({"ICM_DATA__FIELDS": '["a"]'}, "data.fields", ["a"]),
        ({"ICM_PRICES__INPUT": "1", "ICM_PRICES__OUTPUT": "2"}, "prices.output", 2.0),
        ({"ICM_MODEL__OPTIONS": '{"extra_body": {"b": 2}}'}, "model.options.extra_body", {"a": 1, "b": 2}),
        ({"ICM_MODEL__OPTIONS__TOP_LOGPROBS": "5"}, "model.options", {"top_logprobs": "5"}),
        ({"ICM_CONSTRAINTS": '[{"kind": "exactly_one", "label": "True"}]'}, "constraints.0.label", "True"),
        ({"ICM_NOTHING": "1", "ICM_NOTHING__SUCH": "1"}, "search.steps", 3),
    ],
)
def test_values_of_variables(
    variables: dict[str, str], key: str, value: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    found: Any = json.loads(load_config(file).model_dump_json())
    for part in key.split("."):
        found = found[int(part) if part.isdigit() else part]
    assert found == value if not isinstance(value, dict) else found.items() >= value.items()


@pytest.mark.parametrize(
    ("text", "variables", "flags", "message"),
    [
        ("[search]\nstepps = 3", {}, {}, "{file}: unknown key 'search.stepps'; did you mean 'search.steps'?"),
        ("", {"ICM_SEARCH__STEPPS": "3"}, {}, "ICM_SEARCH__STEPPS: unknown key 'search.stepps'; did you mean"),
        (
            "",
            {"ICM_SERCH__STEPS": "3"},
            {},
            "ICM_SERCH__STEPS: there is no table .serch.; did you mean ICM_SEARCH__STEPS?",
        ),
        ("", {}, {"search": {"stepps": 3}}, "flags: unknown key 'search.stepps'; did you mean 'search.steps'?"),
        ('[search]\nengine = "round"', {}, {}, "{file}: search.engine: unknown engine 'round'; did you mean 'rounds'?"),
        ("", {"ICM_SEARCH__ENGINE": "Gibs"}, {}, "ICM_SEARCH__ENGINE: search.engine: unknown engine 'Gibs'; did you"),
        ("", {}, {"search": {"engine": "zzz"}}, "flags: search.engine: unknown engine 'zzz'; known: rounds, anneal"),
        ("[search]\nsteps = 0", {}, {}, "{file}: search.steps: Input should be greater than or equal to 1, got 0"),
        ("[search]\nsteps = 5", {"ICM_SEARCH": '{"steps": 0}'}, {}, "ICM_SEARCH: search.steps: Input should be"),
        ("[search]\nsteps = 5", {"ICM_SEARCH__STEPS": "5"}, {"search": {"steps": 0}}, "flags: search.steps: "),
        ("[budget]\nmoney = 1", {}, {"search": {}}, "{file}: budget.money needs the model's prices: state them"),
        (
            '[client]\ntier = "batch"\n[run]\nexecutor = "ray"',
            {},
            {"search": {}},
            '{file}: client.tier = "batch" has one process send whole jobs: leave run.executor out',
        ),
        ("", {"ICM_SEARCH": "fast"}, {"search": {}}, "ICM_SEARCH: search is a table: write it as a JSON object, got"),
        ("", {"ICM_PROMPT__LABELS": "a,b"}, {}, "ICM_PROMPT__LABELS: prompt.labels: Input should be a valid tuple"),
        ('[[constraints]]\nkind = "exactly_one"', {}, {}, "{file}: key 'constraints.0.label' is missing"),
        (
            '[[constraints]]\nkind = "exacty_one"',
            {},
            {},
            "{file}: constraints.0.kind: unknown kind 'exacty_one'; did you mean 'exactly_one'? known: mutually_excl",
        ),
        ('[[constraints]]\nkind = "x"', {}, {}, "{file}: constraints.0.kind: unknown kind 'x'; known: mutually_excl"),
        ('[[constraints]]\nlabel = "True"', {}, {}, "{file}: key 'constraints.0.kind' is missing$"),
        ("[search]\nseed = -1\nsteps = 0", {}, {}, "{file}: search.seed: .* [(]and 1 more[)]"),
        ('[cache]\nurl = "cache.example:6379"', {}, {}, "{file}: cache.url is no address: write .* cache.folder$"),
        ('[cache]\nfolder = "a"\nurl = "x://:pw@h"', {}, {}, "{file}: cache.folder and .*: leave one of them out$"),
        ("[search", {}, {}, "{file}: not TOML: "),
        (
            "[search]\nseed = 1\nseed = 2",
            {},
            {},
            "{file}: not TOML: .*; the key occurs twice in its table: keep",
        ),
        ("[model]\nprovider = \u201cpocket\u201d", {}, {}, "{file}: not TOML: .*line 4.*; the quotes are typographic"),
        ('[run]\nfolder = "C:\\Users"', {}, {}, "{file}: not TOML: .*line 4.*; a backslash .* begins an escape"),
        ('[run]\nfolder = "D:\\data"', {}, {}, "{file}: not TOML: .*line 4.*; a backslash .* begins an escape"),
        ("[prompt]\nlabels = [1, 2]", {}, {}, '{file}: prompt.labels.0: .* write it in quotes: "1", got 1 [(]and 1'),
        ("[prompt]\nlabels = [true]", {}, {}, '{file}: prompt.labels.0: .* write it in quotes: "true", got True$'),
        ("", {}, {"model": "pocket"}, "flags: model: Input should be a table, got 'pocket'$"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_source(
    text: str,
    variables: dict[str, str],
    flags: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = settings(text, variables, tmp_path, monkeypatch)
    with pytest.raises(ConfigError, match="^" + message.replace("?", "[?]").format(file=file)) as caught:
        load_config(file, flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("encoding", "line"), [("cp1252", 2), ("utf-16", 1)])
def test_a_file_that_is_not_utf8_is_told_where_and_what_to_do(encoding: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes('[data]\npath = "Gr\u00fc\u00dfe.jsonl"\n'.encode(encoding))
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value) == f"{file}: line {line} is not UTF-8; save the file as UTF-8"


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_of_a_key_is_told_its_new_one(old: str, tmp_path: Path) -> None:
    table, _, key = old.rpartition(".")
    file = tmp_path / "x.toml"
    file.write_text(f"[{table}]\n{key} = 1\n" + ("" if table == "data" else '[data]\npath = "a.jsonl"\n'))
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value) == f"{file}: unknown key {old!r}: it is now called {RENAMED[old]!r}"


def test_paths_begin_at_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('[data]\npath = "a.jsonl"\n[search]\nstart = "runs/b"\n[cache]\nfolder = "../c"\n')
    found = load_config(file)
    assert found.data.path == tmp_path / "a.jsonl"
    assert found.search.start == tmp_path / "runs" / "b"
    assert found.cache.folder == tmp_path / "../c"
    assert found.run.folder == tmp_path / "runs" / "x"
    assert found.data.fixed is None


GIVEN: tuple[dict[str, Any], ...] = (
    {},
    {"seed": 3, "steps": 7},
    {"restarts": 9},
    {"restarts": 1, "cooling": 2.0, "initial_temperature": 1.0},
)


@pytest.mark.parametrize("given", GIVEN)
def test_a_changed_search_is_the_one_built_with_the_change(given: dict[str, Any]) -> None:
    presets = [{"preset": preset} for preset in get_args(Preset)]
    engines = [{"engine": engine} for engine in ("anneal", "bootstrap", "folds", "gibbs")]
    for before, after in [*product(presets, presets), *product(engines, engines)]:
        changed = SearchSettings(**given, **before).changed(**after, seed=5)
        built = SearchSettings(**{**given, **after, "seed": 5})
        assert changed.model_dump_json() == built.model_dump_json()
        assert changed.changed() == changed


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if PRESETS[preset]])
def test_what_a_preset_filled_in_was_not_given(preset: Any) -> None:
    found = SearchSettings(preset=preset, restarts=6)
    assert found.model_fields_set == {"preset", "restarts"}
    assert found.changed(preset="default") == SearchSettings(restarts=6)


def test_a_change_is_checked() -> None:
    config = Config(data=DataSection(path=Path("a.jsonl")))
    with pytest.raises(ConfigError, match=r"^seed: Input should be greater than or equal to 0, got -1"):
        config.search.changed(seed=-1)
    with pytest.raises(ConfigError, match=r'^preset = "paper" is a way to anneal and engine = "gibbs" does not'):
        config.search.changed(preset="paper", engine="gibbs")
    with pytest.raises(ConfigError, match=r"^stepps: "):
        config.search.changed(stepps=3)
    with pytest.raises(ConfigError, match=r"^budget\.money needs the model's prices"):
        config.changed(budget=Budget(money=1.0))
    assert config.changed(budget=Budget(requests=1)).budget.requests == 1
    assert config.budget.requests is None


_VLLM = '[model]\nprovider = "vllm:m@http://127.0.0.1:1/v1"\n[model.options]\n'


@pytest.mark.parametrize(
    ("text", "variables", "flags", "message"),
    [
        (_VLLM + "top_logprob = 5", {}, {}, "{file}: provider 'vllm' has no option 'top_logprob'; did you mean"),
        (_VLLM + "top_logprobs = 0", {}, {}, "{file}: provider 'vllm', option 'top_logprobs': Input should be"),
        (_VLLM + "echo = true", {"ICM_MODEL__OPTIONS__ECHO": "maybe"}, {}, "ICM_MODEL__OPTIONS__ECHO: provider 'vllm'"),
        (_VLLM, {"ICM_MODEL__OPTIONS": '{"api": "x"}'}, {}, "ICM_MODEL__OPTIONS: provider 'vllm', option 'api': "),
        (_VLLM + 'api = "chat"', {}, {"model": {"options": {"api": "x"}}}, "flags: provider 'vllm', option 'api': "),
        ('[model]\nprovider = "vlm:m"', {}, {}, "{file}: unknown provider 'vlm'; did you mean 'vllm'"),
        (_VLLM, {"ICM_MODEL__PROVIDER": "openai:"}, {}, "ICM_MODEL__PROVIDER: provider 'openai' needs a model"),
        ("", {}, {"model": {"provider": "vllm:m@http://elsewhere/v1"}}, "flags: base_url .* is plain http"),
        (_VLLM + "echo = true", {}, {"model": {"provider": "pocket"}}, ""),
        ("[model.options]\necho = true", {}, {"model": {"provider": "pocket"}}, "{file}: provider 'pocket' takes no"),
        ('[model]\nprovider = "gemini:m"\noptions = {top_logprobs = 99}', {}, {}, "{file}: gemini: top_logprobs must"),
    ],
)
def test_a_wrong_option_of_a_model_names_its_source(
    text: str,
    variables: dict[str, str],
    flags: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = settings(text, variables, tmp_path, monkeypatch)
    # What is changed later does not hide where the rest is from.
    config = load_config(file, flags).changed(cache=CacheSection(enabled=False))
    assert config == Config.model_validate(config.model_dump())
    wanted = "^" + message.replace("?", "[?]").format(file=file)
    with pytest.raises(ConfigError, match=wanted) if message else nullcontext():
        open_model(config)


def test_a_configuration_built_in_python_has_no_source_to_name() -> None:
    config = Config(
        data=DataSection(path=Path("a.jsonl")),
        model=ModelSection(provider="vlm:m"),
        run=RunSection(folder=Path("run")),
    )
    with pytest.raises(ConfigError, match=r"^unknown provider"):
        open_model(config)


def test_a_model_has_one_spelling() -> None:
    assert ModelSection(provider=" pocket: ").provider == "pocket"
    assert ModelSection(provider="openai:gpt").provider == "openai:gpt"
