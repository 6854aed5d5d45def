"""The calls: engines, hosted dialects, exports, every verb, and mistakes, on small tasks of the embedded model."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from icm_api.testing import Faults, serve
from tests.goldens.recorder import ROOT, Recorder

PORT = 18431
"""Part of every hosted model's identity, and so of its cache keys."""

COOKBOOK, SAMPLES = ROOT / "cookbook" / "data", ROOT / "tests" / "data"
ASYMMETRIC = '[[constraints]]\nkind = "asymmetric"\nlabel = "True"\ntotal = true\n'
EXCLUSIVE = '[[constraints]]\nkind = "mutually_exclusive"\nlabel = "True"\n'
EQUIVALENT = '[[constraints]]\nkind = "equivalent"\n'
CONSTRAINTS = {"comparisons": ASYMMETRIC, "sums": EXCLUSIVE + EQUIVALENT, "facts": EXCLUSIVE, "lucky": ""}

# Name -> data set, examples, [search], other tables.
ENGINES: Mapping[str, tuple[str, int, str, str]] = {
    "anneal-comparisons": ("comparisons", 14, "", ""),
    "anneal-sums": ("sums", 14, "seed = 3", ""),
    "anneal-facts": ("facts", 14, "restarts = 2\nalpha = 20.0", "[diagnostics]\nabstain_below = 0.9\n"),
    "anneal-lucky": ("lucky", 12, "steps = 30", ""),
    "sum-logprob": ("sums", 10, 'statistic = "sum_logprob"\nsteps = 30', "[diagnostics]\nenabled = false\n"),
    "logodds": ("facts", 10, 'statistic = "mean_logodds"\nsteps = 30', "[cache]\nenabled = false\n"),
    "single": ("comparisons", 10, 'moves = "single"\nsteps = 60', ""),
    "paper": ("sums", 10, 'preset = "paper"\nsteps = 80', ""),
    "reference": ("comparisons", 10, 'preset = "reference"\nsteps = 80', ""),
    "bootstrap": ("facts", 14, 'engine = "bootstrap"', ""),
    "folds": ("sums", 14, 'engine = "folds"\nfolds = 3', ""),
    "gibbs": ("comparisons", 12, 'engine = "gibbs"\nrestarts = 2\nrounds = 5', ""),
    "fixed": ("sums", 14, "seed_labels = 4", 'fixed = "fixed.jsonl"'),
    "warm": ("facts", 14, 'start = "../bootstrap/run"\nsteps = 40', ""),
    "transitive": ("comparisons", 12, "steps = 30", '[[constraints]]\nkind = "transitive"\nlabel = "True"\n'),
    "exactly-one": ("facts", 12, "steps = 30", '[[constraints]]\nkind = "exactly_one"\nlabel = "True"\nweight = 2.0\n'),
    "implies": (
        "sums",
        13,
        "steps = 30",
        '[[constraints]]\nkind = "implies"\nif_label = "True"\nthen_label = "False"\n',
    ),
}

# Name -> provider, dialect, options, whether its address has no /v1.
HOSTED: Mapping[str, tuple[str, str, Mapping[str, Any], bool]] = {
    "openai-chat": ("openai", "openai", {"api": "chat"}, False),
    "openai-one-message": ("openai", "openai", {"api": "chat", "chat_style": "one_message"}, False),
    "openai-completions": ("openai", "openai", {"api": "completions", "top_logprobs": 20}, False),
    "openai-echo": ("openai-compatible", "openai", {"api": "completions", "top_logprobs": 1, "echo": True}, False),
    "gemini": ("gemini", "openai", {}, True),
    "anthropic": ("anthropic", "openai", {"samples": 5, "max_tokens": 1}, True),
    "vllm": ("vllm", "vllm", {}, False),
    "vllm-chat": ("vllm", "vllm", {"api": "chat"}, False),
    "together": ("together", "vllm", {}, False),
    "openrouter": ("openrouter", "vllm", {}, False),
    "sglang": ("sglang", "sglang", {}, False),
    "sglang-chat": ("sglang", "sglang", {"api": "chat"}, False),
    "llamacpp": ("llamacpp", "llama.cpp", {}, False),
    "llamacpp-completions": ("llamacpp", "llama.cpp", {"api": "completions"}, False),
    "ollama": ("ollama", "llama.cpp", {"context_window": 900}, False),
    "fireworks": ("fireworks", "fireworks", {}, False),
    "fireworks-chat": ("fireworks", "fireworks", {"api": "chat"}, False),
}
DIALECTS = dict.fromkeys(dialect for _, dialect, _, _ in HOSTED.values())
PASSING = Faults(("429-ms", "429-seconds", "500", "cut", "truncated-json"), rate=0.1, retry_after=0.02)

# Packaged configuration -> sample, flags of evaluate.
TASKS = {
    "alpaca": ("alpaca.json", ()),
    "classification": ("sentiment.csv", ("--label-field", "sentiment")),
    "gsm8k": ("gsm8k_example_solutions.jsonl", ()),
    "principle": ("hh.jsonl", ()),
    "ratings": ("sentiment.csv", ("--label-field", "stars")),
    "truthfulqa": ("truthfulqa.csv", ()),
    "truthfulqa-pairs": ("truthfulqa.csv", ()),
}
FORMATS = ("openai-sft", "azure-sft", "together-sft", "fireworks-sft", "openai-dpo", "trl-sft", "trl-dpo", "trl-reward",
           "hf-dataset", "csv", "parquet", "cleanlab", "argilla", "label-studio")  # fmt: skip
VERBS = ("run", "resume", "plan", "evaluate", "audit", "cache", "compare", "export", "queue", "report", "probe",
         "generate", "init", "demo", "prefer", "best", "rewardbench")  # fmt: skip

# What is wrong -> what stands in the configuration, and what in its place.
MISTAKES = {
    "unknown key": ("[search]", "[search]\nstepps = 3"),
    "unknown table": ("[search]", "[serch]"),
    "negative alpha": ("[search]", "[search]\nalpha = -1"),
    "steps no number": ("[search]", "[search]\nsteps = 'many'"),
    "constraint kind": ('"asymmetric"', '"asymetric"'),
    "constraint label": ('label = "True"', 'label = "Yes"'),
    "constraint key": ('label = "True"', 'label = "True"\nfirst = "nowhere"'),
    "no data": ("comparisons.jsonl", "nowhere.jsonl"),
    "provider": ('"pocket"', '"pockett"'),
    "provider without model": ('"pocket"', '"openai"'),
    "no address": ('"pocket"', '"openai-compatible:x"'),
    "plain http": ('"pocket"', '"vllm:x@http://192.0.2.1/v1"'),
    "option of pocket": ('"pocket"', '"pocket"\noptions = { x = 1 }'),
    "no TOML": ("[data]", "[data"),
    "template": ("[prompt]", '[prompt]\ntemplate = "{txt}"'),
    "one label": ("[prompt]", '[prompt]\nlabels = ["True"]'),
    "label begins another": ("[prompt]", '[prompt]\nlabels = ["1", "10"]'),
    "preset": ("[search]", '[search]\npreset = "papper"'),
    "preset and engine": ("[search]", '[search]\npreset = "paper"\nengine = "gibbs"'),
    "fields of a task": ("[data]", '[data]\nformat = "gsm8k"\nfields = ["x"]'),
    "wrong task": ("[data]", '[data]\nformat = "gsm8k"'),
    "no start": ("[search]", '[search]\nstart = "nowhere"'),
    "no fixed": ("[data]", '[data]\nfixed = "nowhere.jsonl"'),
    "money without prices": ("[search]", "[budget]\nmoney = 1.0\n[search]"),
    "broken rows": (str(COOKBOOK / "comparisons.jsonl"), str(COOKBOOK / "export.csv")),
    "too long": ("[prompt]", f'[prompt]\ninstruction = "{"long " * 900}"'),
}
ARGUMENTS = ("", "runn", "run nowhere.toml", "resume nowhere", "evaluate nowhere --gold nowhere", "cache stats nowhere",
             "export nowhere --to csv", "export nowhere --to x", "queue nowhere --out a.csv", "report nowhere",
             "probe pockett", "demo --size 1", "init poems", "generate nowhere --model pocket --out a")  # fmt: skip
FATAL = {"vllm": ("401", "null-logprobs", "missing-label"), "openai-chat": ("insufficient-quota", "refusal", "zeros"),
         "gemini": ("403", "nan"), "anthropic": ("404", "refusal")}  # fmt: skip


def record(folder: str, groups: Sequence[str]) -> None:
    """Record all groups of calls, or those named, into a new folder."""
    out = Path(folder).resolve()
    if out.exists() and any(out.iterdir()):
        sys.exit(f"{out} is not empty: name another folder")
    with tempfile.TemporaryDirectory(prefix="goldens-") as name:
        work = Path(name).resolve()
        os.environ |= {"COLUMNS": "100", "XDG_CACHE_HOME": str(work / "xdg")}
        hosts = ("OPENAI", "OPENAI_COMPATIBLE", "ANTHROPIC", "GEMINI", "FIREWORKS", "TOGETHER", "OPENROUTER")
        os.environ |= {f"{host}_API_KEY": "sk-of-the-goldens" for host in hosts}
        os.chdir(work)
        recorder = Recorder(out, work)
        for group in (engines, tasks, resumes, hosted, comparisons, mistakes, others):
            if not groups or group.__name__ in groups:
                began = time.monotonic()
                group(recorder)
                print(f"{group.__name__}: {time.monotonic() - began:.0f} s", flush=True)
        recorder.finish()


def config(at: Path, data: str, size: int, search: str = "", more: str = "", model: str = '"pocket"') -> Path:
    """Write a configuration on a cookbook data set; `more` begins with keys of [data], or is other tables."""
    at.mkdir(parents=True, exist_ok=True)
    own, tables = (more, "") if not more.startswith("[") else ("", more)
    constraints = "" if "[[constraints]]" in tables else CONSTRAINTS[data]
    cache = "" if "[cache]" in tables else '[cache]\nfolder = "cache"\n'
    text = (
        f'[data]\npath = "{COOKBOOK / data}.jsonl"\nlimit = {size}\n{own}\n\n[prompt]\nseparator = "\\n"\n\n'
        f"[model]\nprovider = {model}\n\n{constraints}\n[search]\n{search}\n\n{tables}\n{cache}\n"
        '[run]\nfolder = "run"\n'
    )
    (at / "config.toml").write_text(text, encoding="utf-8")
    return at / "config.toml"


def own_files(name: str, path: Path) -> None:
    """Write what the cases "fixed" and "implies" need besides their configuration."""
    if name == "fixed":  # the same examples as "anneal-sums": a quarter of them have the label True
        labelled = (path.parents[1] / "anneal-sums" / "run" / "labels.jsonl").read_text(encoding="utf-8").splitlines()
        given = (json.dumps({"id": json.loads(row)["id"], "label": "True"}) + "\n" for row in labelled[::4])
        (path.parent / "fixed.jsonl").write_text("".join(given))
    if name == "implies":  # each example names the next in the file
        rows = [json.loads(row) for row in (COOKBOOK / "sums.jsonl").read_text(encoding="utf-8").splitlines()][:13]
        chained = [*(row | {"implies": [then["id"]]} for row, then in pairwise(rows)), rows[-1]]
        (path.parent / "chained.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chained))
        path.write_text(path.read_text().replace(str(COOKBOOK / "sums.jsonl"), "chained.jsonl"))


def engines(recorder: Recorder) -> None:
    """Every engine and preset: a run's files, and what the verbs say of it."""
    for name, (data, size, search, more) in ENGINES.items():
        path = config(recorder.work / name, data, size, search, more)
        own_files(name, path)
        as_json = ["--json"] if name != "anneal-comparisons" else []
        for verb in ("plan", "audit", "run"):
            recorder.call(f"engines/{name}/{verb}", verb, path, *as_json)
        recorder.keep(f"engines/{name}/run", path.parent / "run")
        gold_flag = ("--gold", COOKBOOK / f"{data}_gold.jsonl")
        recorder.call(f"engines/{name}/evaluate", "evaluate", path.parent / "run", *gold_flag, *as_json)
    for verb in ("plan", "audit"):
        recorder.call(f"engines/text/{verb}", verb, recorder.work / "anneal-sums" / "config.toml")
    recorder.call("engines/text/resume", "resume", recorder.work / "anneal-facts" / "run")
    recorder.call("engines/flags", "run", recorder.work / "anneal-sums" / "config.toml", "--engine", "bootstrap",
                  "--seed", 5, "--steps", 6, "--no-cache", "--out", recorder.work / "flags", "--json")  # fmt: skip
    use(recorder, "sums", recorder.work / "anneal-sums" / "run", COOKBOOK / "sums_gold.jsonl", png=True)


def tasks(recorder: Recorder) -> None:
    """Every packaged configuration on a sample of its format, and what is made of the run."""
    for task, (sample, flags) in TASKS.items():
        at = recorder.work / "tasks" / f"{task}.toml"
        at.parent.mkdir(exist_ok=True)
        recorder.call(f"tasks/{task}/init", "init", task, "--data", SAMPLES / sample, "--model", "pocket", "--out", at)
        recorder.keep(f"tasks/{task}/{task}.toml", at)
        at.write_text(at.read_text().replace("limit = 256", "limit = 8"))
        for verb in ("audit", "plan"):
            recorder.call(f"tasks/{task}/{verb}", verb, at, "--json")
        recorder.call(f"tasks/{task}/run", "run", at, "--steps", 6, "--json")
        recorder.keep(f"tasks/{task}/run", at.parent / "runs" / task)
        use(recorder, task, at.parent / "runs" / task, SAMPLES / sample, flags)


def use(recorder: Recorder, name: str, run: Path, gold: Path, flags: Sequence[str] = (), *, png: bool = False) -> None:
    """Evaluate, export, queue and report a finished run."""
    recorder.call(f"use/{name}/evaluate", "evaluate", run, "--gold", gold, *flags)
    recorder.call(f"use/{name}/evaluate-json", "evaluate", run, "--gold", gold, "--json", *flags)
    out = recorder.work / "use" / name
    exports: dict[str, tuple[Any, ...]] = {to: (to,) for to in FORMATS}
    exports |= {"soft": ("csv", "--soft", "--spreadsheet"), "fields": ("csv", "--fields", "id,label"),
                "split": ("openai-sft", "--split", 0.7, "--shuffle", "--seed", 2),
                "sure": ("trl-sft", "--abstain-below", 0.8), "json": ("trl-dpo", "--json")}  # fmt: skip
    for each, (to, *more) in exports.items():
        recorder.call(f"use/{name}/export/{each}", "export", run, "--to", to, "--out", out / each, *more)
        recorder.keep(f"use/{name}/export/{each}", out / each)
    for file, *blind in (("queue.csv",), ("queue.jsonl",), ("blind.csv", "--blind")):
        recorder.call(f"use/{name}/{file}", "queue", run, "--most", 5, "--out", out / file, *blind)
        recorder.keep(f"use/{name}/{file}", out / file)
    own = [] if flags else ["--gold", gold]
    recorder.call(f"use/{name}/report", "report", run, "--out", out / "report.html", *own, *(["--png"] if png else []))
    for page in sorted(out.glob("report*.*")):
        recorder.keep(f"use/{name}/{page.name}", page)


def resumes(recorder: Recorder) -> None:
    """Runs cut off, by a kill and by a torn journal: their ends are those of the unbroken run."""
    whole = config(recorder.work / "whole", "comparisons", 14, 'engine = "anneal"\nseed = 2')
    recorder.call("resumes/whole", "run", whole, "--json")
    killed = config(recorder.work / "killed", "comparisons", 14, 'engine = "anneal"\nseed = 2')
    trace = killed.parent / "run" / "trace.jsonl"
    process = subprocess.Popen([sys.executable, "-m", "icm_api.cli.main", "run", str(killed), "--json"], cwd=ROOT,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    while not trace.is_file() or trace.read_bytes().count(b"\n") < 15:
        if process.poll() is not None:
            sys.exit("the run that was to be killed ended before")
        time.sleep(0.002)
    process.kill()
    process.wait()
    torn = recorder.work / "torn" / "run"
    shutil.copytree(whole.parent / "run", torn)
    lines = (torn / "trace.jsonl").read_bytes().splitlines(keepends=True)
    (torn / "trace.jsonl").write_bytes(b"".join(lines[:20]) + lines[20][:40])
    for name in ("labels.jsonl", "summary.json"):
        (torn / name).unlink()
    for name, run in (("killed", killed.parent / "run"), ("torn", torn)):
        if recorder.call(f"resumes/{name}", "resume", run, "--json", told=name == "torn") != 0:
            sys.exit(f"the run that was {name} cannot be resumed")
        for file in ("labels.jsonl", "trace.jsonl", "summary.json"):
            if (run / file).read_bytes() != (whole.parent / "run" / file).read_bytes():
                sys.exit(f"{file} of the run that was {name} is not that of the unbroken one")


def spec(name: str) -> tuple[str, Mapping[str, Any]]:
    """The model of the server at `PORT`, and the options of its provider."""
    provider, _, options, rooted = HOSTED[name]
    return f"{provider}:pocket@http://127.0.0.1:{PORT}" + ("" if rooted else "/v1"), options


@contextmanager
def served(dialect: str, faults: Faults | None = None) -> Iterator[None]:
    """Serve the embedded model at `PORT`; another recording there is waited for, ten minutes at most."""
    for _ in range(1200):
        with closing(socket.socket()) as free:
            if free.connect_ex(("127.0.0.1", PORT)) != 0:
                break
        time.sleep(0.5)
    else:
        sys.exit(f"port {PORT} is taken: it is part of the cache keys, so end what listens there")
    with serve(dialect=dialect, faults=faults, port=PORT):
        yield


def hosted(recorder: Recorder) -> None:
    """Every dialect, sound and with faults that pass: a run, its cache keys; what probe and generate say of it."""
    questions = COOKBOOK / "sum_solutions.jsonl"
    for dialect in DIALECTS:
        for state, faults in (("sound", None), ("faulty", PASSING)):
            with served(dialect, faults):
                for name in (name for name, each in HOSTED.items() if each[1] == dialect):
                    run_hosted(recorder, f"hosted/{state}/{name}", name)
                    if state == "sound":
                        model, options = spec(name)
                        given = [f"--option={key}={json.dumps(value)}" for key, value in options.items()]
                        recorder.call(f"hosted/probe/{name}", "probe", model, *given, "--json")
                        out = recorder.work / "made" / name
                        recorder.call(f"hosted/generate/{name}", "generate", questions, "--model", model, "--json",
                                      "--out", out / "made.jsonl", "--cache", out / "cache", "--samples", 2, *given,
                                      "--max-tokens", 4, "--temperature", 1, "--template", "{question}")  # fmt: skip
                        if (out / "made.jsonl").is_file():
                            rows = map(json.loads, (out / "made.jsonl").read_text(encoding="utf-8").splitlines())
                            # Which of two equal questions is answered first is decided by time alone.
                            lines = (json.dumps(row | {"solutions": sorted(row["solutions"])}) + "\n" for row in rows)
                            recorder.write("data", f"hosted/generate/{name}.jsonl", "".join(lines))
                            recorder.keep_cache_keys(f"hosted/generate/{name}-keys", out / "cache")
    with served("vllm"):
        more = "[budget]\nrequests = 60\nmoney = 1.0\n[prices]\ninput = 0.1\noutput = 0.4\ncached_input = 0.01\n"
        run_hosted(recorder, "hosted/budget", "vllm", more)
        recorder.call("hosted/probe-text", "probe", spec("vllm")[0])
    for name, kinds in FATAL.items():
        for kind in kinds:
            with served(HOSTED[name][1], Faults((kind,), times=None)):
                run_hosted(recorder, f"hosted/fatal/{name}-{kind}", name)


def run_hosted(recorder: Recorder, name: str, host: str, more: str = "") -> None:
    """Run a small task on the server; keep the run's files, and the keys in its cache."""
    model, options = spec(host)
    given = "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
    path = config(
        recorder.work / name, "comparisons", 8, "steps = 12", f"[model.options]\n{given}\n{more}", f'"{model}"'
    )
    path.write_text(path.read_text().replace("[prompt]\n", '[prompt]\ninstruction = "27>82 False"\n'))
    code = recorder.call(f"{name}/run", "run", path, "--json")
    if "fatal" not in name and "budget" not in name:
        if code != 0:
            sys.exit(f"{name} ended in exit code {code}")
        recorder.keep(f"{name}/run", path.parent / "run")
        recorder.keep_cache_keys(f"{name}/cache-keys", path.parent / "cache")


def comparisons(recorder: Recorder) -> None:
    """The baseline panel: its folder, and its report."""
    panels = {"sums": 'seeds = 1\ncurve = true\nmethods = ["zero-shot", "random", "pseudo-labels", "bootstrap", '
                      '"bootstrap-equal", "icm", "icm-unconstrained", "golden"]',
              "facts": 'seeds = 2\nheld_out = 0.4\nmethods = ["zero-shot", "icm", "golden"]'}  # fmt: skip
    for name, settings in panels.items():
        path = config(recorder.work / "panel" / name, name, 16, "steps = 40", f"[compare]\n{settings}\n")
        gold = COOKBOOK / f"{name}_gold.jsonl"
        recorder.call(f"compare/{name}/text", "compare", path, "--gold", gold)
        recorder.call(f"compare/{name}/again", "compare", path, "--gold", gold, "--json")
        recorder.keep(f"compare/{name}/folder", path.parent / "run-compare")
    recorder.call("compare/run", "run", path, "--json")
    recorder.call("compare/report", "report", path.parent / "run", "--comparison", path.parent / "run-compare",
                  "--out", path.parent / "page.html")  # fmt: skip
    recorder.keep("compare/page.html", path.parent / "page.html")


def mistakes(recorder: Recorder) -> None:
    """Wrong configurations and arguments: exit codes, and what is said."""
    for name, (right, wrong) in MISTAKES.items():
        path = config(recorder.work / "mistakes" / name.replace(" ", "-"), "comparisons", 8, "")
        text = path.read_text()
        if right not in text:
            raise ValueError(f"{name}: {right!r} is not in the configuration")
        path.write_text(text.replace(right, wrong, 1))
        recorder.call(f"mistakes/{name.replace(' ', '-')}", "run", path, "--json")
    for words in ARGUMENTS:
        recorder.call(f"mistakes/arguments/{words.replace(' ', '_') or 'none'}", *words.split())


def others(recorder: Recorder) -> None:
    """The cache, the demo, the embedded model probed and writing, and every help text."""
    path = config(recorder.work / "cached", "sums", 10, "steps = 20")
    recorder.call("others/run", "run", path, "--json")
    cache = path.parent / "cache"
    for action in ("stats", "verify"):
        recorder.call(f"others/cache-{action}", "cache", action, cache)
        recorder.call(f"others/cache-{action}-json", "cache", action, cache, "--json")
    recorder.call("others/cache-export", "cache", "export", cache, "--to", recorder.work / "entries.jsonl")
    lines = sorted((recorder.work / "entries.jsonl").read_text(encoding="utf-8").splitlines(keepends=True))
    recorder.write("data", "others/entries.jsonl", "".join(lines))
    recorder.call("others/cache-prune", "cache", "prune", cache, "--model", "nobody's", "--json")
    recorder.call("others/demo", "demo", "--size", 12, "--task", "sums", "--out", recorder.work / "demo")
    recorder.keep("others/demo", recorder.work / "demo", skip=frozenset({"cache.db"}))
    recorder.call("others/demo-json", "demo", "--size", 8, "--seeds", 2, "--out", recorder.work / "demo", "--json")
    recorder.call("others/probe", "probe", "pocket")
    recorder.call("others/probe-json", "probe", "pocket", "--labels", "A,B,C", "--json")
    recorder.call("others/generate", "generate", COOKBOOK / "sum_solutions.jsonl", "--model", "pocket", "--out",
                  recorder.work / "made.jsonl", "--samples", 2, "--max-tokens", 5, "--cache", cache)  # fmt: skip
    for verb in VERBS:
        recorder.call(f"others/help/{verb}", verb, "--help")
    recorder.call("others/help/all", "--help")
