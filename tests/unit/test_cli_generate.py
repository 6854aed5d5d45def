"""`icm-api generate` over real HTTP: nothing is asked twice, and the file holds what the model really said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from icm_api.cli.main import main
from icm_api.data import read_rows
from icm_api.data.gsm8k import gsm8k_examples, gsm8k_gold
from icm_api.errors import CapabilityError, ProviderError, RequestError
from icm_api.model import open_model
from icm_api.testing import Faults, Server, serve
from icm_api.types import Prompt, Verbalizer
from tests.hosted import HOSTED, KEY_VARIABLES

Printed = pytest.CaptureFixture[str]

CHAT = HOSTED["openai-chat"]
WRITING = [name for name, hosted in HOSTED.items() if not hosted.normalised]
QUESTIONS = [{"question": f"{left}>{left + 7}", "answer": f"truth-marker\n#### {left}"} for left in range(10, 40)]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "of-the-test")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    return path


def generate(questions: Path, spec: str, *more: str) -> int:
    folder = questions.parent
    given = ["--out", str(folder / "out.jsonl"), "--cache", str(folder / "cache"), "--template", "{question}"]
    return main(["generate", str(questions), "--model", spec, *given, "--samples", "3", "--max-tokens", "2", *more])


def written(questions: Path) -> list[dict[str, object]]:
    lines = (questions.parent / "out.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def asked(server: Server) -> int:
    return sum(server.log.requests.values())


def test_all_questions_are_answered_in_order_and_a_second_run_sends_nothing(questions: Path, capsys: Printed) -> None:
    with serve(dialect="openai") as server:
        assert generate(questions, CHAT.spec(server)) == 0
        assert asked(server) == 3 * len(QUESTIONS)
        assert f"cost: {3 * len(QUESTIONS)} requests" in capsys.readouterr().out
        first = (questions.parent / "out.jsonl").read_bytes()
        rows = written(questions)
        assert [row["question"] for row in rows] == [row["question"] for row in QUESTIONS]
        assert [row["id"] for row in rows] == [str(line) for line in range(1, len(QUESTIONS) + 1)]
        assert all(len(row["solutions"]) == 3 for row in rows)  # type: ignore[arg-type]
        assert {text for row in rows for text in row["solutions"]} == {"True", "False"}  # type: ignore[attr-defined]
        (questions.parent / "out.jsonl").unlink()
        assert generate(questions, CHAT.spec(server)) == 0
        assert asked(server) == 3 * len(QUESTIONS)
    assert "cost: 0 requests, 0 prompt and 0 reply tokens" in capsys.readouterr().out
    assert (questions.parent / "out.jsonl").read_bytes() == first


def test_advice_names_the_flag_where_no_file_states_the_model(questions: Path, capsys: Printed) -> None:
    with serve(dialect="openai", faults=Faults(("429-too-large",), times=None)) as server:
        assert generate(questions, CHAT.spec(server)) == 2
    said = capsys.readouterr().err
    assert "set context_window by --option NAME=VALUE" in said
    assert "[model.options]" not in said


def test_what_a_budget_stopped_goes_on_and_nothing_is_asked_twice(questions: Path, capsys: Printed) -> None:
    with serve(dialect="openai") as server:
        assert generate(questions, CHAT.spec(server), "--budget-requests", "40") == 3
        assert 0 < asked(server) <= 40
        # What was got is written.
        found = written(questions)
        assert 0 < len(found) <= 13
        assert all(len(row["solutions"]) > 0 for row in found)  # type: ignore[arg-type]
        err = capsys.readouterr().err
        assert "40 requests are used" in err
        assert f"{len(found)} of {len(QUESTIONS)} questions written; run the same again to go on" in err
        assert generate(questions, CHAT.spec(server)) == 0
        assert asked(server) == 3 * len(QUESTIONS)
    assert len(written(questions)) == len(QUESTIONS)


def test_the_official_solution_is_kept_and_never_sent(questions: Path) -> None:
    with serve(dialect="openai", record=1000) as server:
        assert generate(questions, CHAT.spec(server)) == 0
        bodies = [json.dumps(request.body) for request in server.requests]
    assert len(bodies) == 3 * len(QUESTIONS)
    assert not any("truth-marker" in body for body in bodies)
    assert [row["answer"] for row in written(questions)] == [row["answer"] for row in QUESTIONS]


def test_faults_that_pass_are_sat_out(questions: Path) -> None:
    faults = Faults(("429-ms", "500", "cut", "truncated-json"), rate=0.5, retry_after=0.01)
    with serve(dialect="openai", faults=faults) as server:
        assert generate(questions, CHAT.spec(server)) == 0
        assert server.log.faults
    assert all(len(row["solutions"]) == 3 for row in written(questions))  # type: ignore[arg-type]


def test_a_refused_key_stops_at_once_and_writes_nothing(questions: Path, capsys: Printed) -> None:
    with serve(dialect="openai", faults=Faults(("401",), times=None)) as server:
        assert generate(questions, CHAT.spec(server)) == 2
        assert asked(server) <= 3
    assert "check the key" in capsys.readouterr().err
    assert not (questions.parent / "out.jsonl").exists()


@pytest.mark.parametrize("name", ["openai-chat", "anthropic", "gemini"])
def test_a_refused_question_has_no_solutions_and_the_others_have_theirs(
    name: str, questions: Path, capsys: Printed
) -> None:
    hosted = HOSTED[name]
    with serve(dialect=hosted.dialect, faults=Faults(("refusal",), rate=0.15, times=None)) as server:
        assert generate(questions, hosted.spec(server), "--temperature", "1") == 0
    rows = written(questions)
    # A refused sample does not cost the others of its question.
    assert {len(row["solutions"]) for row in rows} & {1, 2}  # type: ignore[arg-type]
    refused = sum(row["solutions"] == [] for row in rows)
    told = f"{refused} questions were refused and have none; they are asked again next time"
    assert (told in capsys.readouterr().out) == (refused > 0)
    assert {example.group for example in gsm8k_examples(read_rows(questions.parent / "out.jsonl"))} == {
        row["id"] for row in rows if row["solutions"]
    }


# Every provider that writes


@pytest.mark.parametrize("name", WRITING)
async def test_every_hosted_provider_writes_as_often_as_asked(name: str) -> None:
    hosted = HOSTED[name]
    with serve(dialect=hosted.dialect, seed=5) as server:
        async with open_model(hosted.spec(server), options=dict(hosted.options)) as model:
            assert model.capabilities.generates
            first, second = await model.generate(["27>82", "82>27"], max_tokens=1, samples=8)
            assert model.sent.requests == 16
            assert model.sent.completion_tokens == 16
    assert {text.strip() for text in (*first, *second)} == {"True", "False"}
    # The model knows which is larger.
    assert sum(text.strip() == "True" for text in second) > sum(text.strip() == "True" for text in first)


@pytest.mark.parametrize("name", WRITING)
async def test_a_provider_that_declines_to_write_says_so(name: str) -> None:
    hosted = HOSTED[name]
    with serve(dialect=hosted.dialect, faults=Faults(("refusal",), times=None)) as server:
        async with open_model(hosted.spec(server), options=dict(hosted.options)) as model:
            with pytest.raises(RequestError) as caught:
                await model.generate(["27>82"], max_tokens=1)
    assert caught.value.kind == "refused"


async def test_anthropic_takes_no_temperature_but_its_own() -> None:
    with serve() as server:
        async with open_model(HOSTED["anthropic"].spec(server)) as model:
            with pytest.raises(CapabilityError, match=r"take no temperature, so 0\.7 cannot be asked for; use 1"):
                await model.generate(["27>82"], max_tokens=1, temperature=0.7)


def test_a_model_that_writes_nothing_is_a_clear_error(questions: Path, capsys: Printed) -> None:
    with serve(dialect="openai") as server:
        assert generate(questions, f"openai-decisions:m@{server.url}") == 2
    assert (
        "writes no text; openai and the hosts of its kind, anthropic, gemini, huggingface and pocket do"
        in capsys.readouterr().err
    )


async def test_the_embedded_model_writes_by_its_own_probabilities() -> None:
    asked = Prompt("", (), "82>27", Verbalizer.plain(("True", "False")), "\n")
    async with open_model("pocket") as model:
        assert model.capabilities.generates
        [told] = await model.label_distributions([asked])
        [many] = await model.generate(["82>27"], max_tokens=1, samples=400)
        again, other = await model.generate(["82>27", "27>"], max_tokens=1, samples=400)
        [likeliest] = await model.generate(["82>27"], max_tokens=3, temperature=0.0)
        numbers = await model.generate(["Fenn", "27>"], max_tokens=6, samples=20)
        assert model.sent.completion_tokens > 800
        with pytest.raises(ProviderError, match="context window"):
            await model.generate(["27>"], max_tokens=2000)
    assert list(many) == list(again)
    assert set(other) == {" True", " False"}
    assert list(likeliest) == [" True"]
    # Five standard deviations.
    assert many.count(" True") / 400 == pytest.approx(np.exp(told.logprob("True")) * (told.coverage or 0), abs=0.125)
    # A text ends before white space.
    assert all(not any(char.isspace() for char in text[1:]) for some in numbers for text in some)


# What comes back


@contextmanager
def scripted(replies: Mapping[str, str | None]) -> Iterator[str]:
    """A chat server that says one thing to each question; None is a refusal. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][0]["content"]
            said = next(reply for question, reply in replies.items() if asked.startswith(question))
            message = {"role": "assistant", "content": said, "refusal": None if said is not None else "I won't."}
            usage = {"prompt_tokens": 1_000_000, "completion_tokens": 500_000}
            choices = [{"index": 0, "finish_reason": "stop", "message": message}]
            body = json.dumps({"choices": choices, "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


REPLIES: dict[str, str | None] = {
    "Eggs?": " 9 * 2 = 18\n#### 18\n",
    "Jars?": "The answer is \\boxed{\\frac{3}{4}}.",
    "Days?": "First, we multiply 24 by 5, which",
    "Blank?": " \n",
    "Bombs?": None,
}


def test_blank_cut_and_refused_replies_are_counted_for_what_they_are(tmp_path: Path, capsys: Printed) -> None:
    questions, out = tmp_path / "questions.json", tmp_path / "out.jsonl"
    rows = [{"id": text[:-1], "q": text, "answer": "#### 18"} for text in REPLIES]
    questions.write_text(json.dumps(rows), encoding="utf-8")
    with scripted(REPLIES) as url:
        given = ["--model", f"openai-compatible:m@{url}", "--option", "api=chat", "--field", "q", "--samples", "1"]
        more = ["--cache", str(tmp_path / "cache"), "--prices", "2,4", "--json"]
        assert main(["generate", str(questions), *given, *more, "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    counted = {name: found[name] for name in ("questions", "solutions", "with_final_answer", "blank")}
    assert counted == {"questions": 5, "solutions": 3, "with_final_answer": 2, "blank": 1}
    assert found["refused_questions"] == 1
    # A refusal is paid for too: five answers of a million and half a million tokens.
    assert found["money"] == pytest.approx(5 * (2 + 2))
    assert [json.loads(line)["solutions"] for line in out.read_text(encoding="utf-8").splitlines()] == [
        ["9 * 2 = 18\n#### 18"],
        ["The answer is \\boxed{\\frac{3}{4}}."],
        ["First, we multiply 24 by 5, which"],
        [],
        [],
    ]
    answers = [(example.group, example.answer) for example in gsm8k_examples(read_rows(out))]
    assert answers == [("Eggs", "18"), ("Jars", "0.75"), ("Days", None)]
    assert [label for _, label in gsm8k_gold(read_rows(out))] == ["True", "False", "False"]


# Mistakes


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--template", "Solve it."], "neither a text that shows {question} nor a readable file"),
        (["--template", "{question} {answer}"], "it may show {question} and nothing else"),
        (["--field", "prompt"], "questions.jsonl:1: 'prompt' is missing"),
        (["--temperature", "-1"], "must not be negative"),
        (["--budget-money", "1"], "prices"),
    ],
)
def test_a_mistake_is_named_before_anything_is_sent(
    questions: Path, capsys: Printed, more: list[str], message: str
) -> None:
    with serve(dialect="openai") as server:
        assert generate(questions, CHAT.spec(server), *more) == 2
        assert asked(server) == 0
    assert message in capsys.readouterr().err


def test_the_questions_are_never_overwritten(questions: Path, capsys: Printed) -> None:
    before = questions.read_bytes()
    assert main(["generate", str(questions), "--model", "pocket", "--out", str(questions)]) == 2
    assert "is the file of the questions" in capsys.readouterr().err
    assert questions.read_bytes() == before


def test_a_template_may_stand_in_a_file(questions: Path) -> None:
    template = questions.parent / "template.txt"
    template.write_text("27>82 False\n{question}", encoding="utf-8")
    with serve(dialect="openai", record=1000) as server:
        assert generate(questions, CHAT.spec(server), "--template", str(template)) == 0
        asked_for = {request.body["messages"][0]["content"] for request in server.requests}
    assert asked_for == {f"27>82 False\n{row['question']}" for row in QUESTIONS}


@pytest.mark.parametrize(("flags", "kept"), [([], False), (["--keep-thoughts"], True)])
def test_thoughts_are_no_part_of_a_solution_unless_they_are_asked_for(
    flags: list[str], kept: bool, tmp_path: Path, capsys: Printed
) -> None:
    replies: dict[str, str | None] = {
        "Eggs?": "<think>20? No.</think>\n\n9 * 2 = 18\n#### 18",
        "Jars?": "<think>Let me see.",
    }
    questions, out = tmp_path / "questions.jsonl", tmp_path / "out.jsonl"
    questions.write_text("".join(json.dumps({"question": text}) + "\n" for text in replies), encoding="utf-8")
    with scripted(replies) as url:
        given = ["--model", f"openai-compatible:m@{url}", "--option", "api=chat", "--samples", "1", "--json"]
        more = ["--template", "{question}", "--cache", str(tmp_path / "cache"), "--out", str(out)]
        assert main(["generate", str(questions), *given, *more, *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["blank"], found["with_final_answer"]) == (0 if kept else 1, 1)
    solutions = [json.loads(line)["solutions"] for line in out.read_text(encoding="utf-8").splitlines()]
    assert solutions == ([[text] for text in replies.values()] if kept else [["9 * 2 = 18\n#### 18"], []])
