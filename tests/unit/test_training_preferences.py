"""The embedded model trained on preferences: against the loss written out, what it then writes, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from icm_api.cli.main import main
from icm_api.errors import DataError
from icm_api.export import LabelledData
from icm_api.pocket.model import WEIGHTS, PocketModel
from icm_api.reward import read_best
from icm_api.training import follow, open_trainer, start, training_data
from tests.finished import MadeUp, finished_run
from tests.labelled import preferred
from tests.unit.test_training_reward import Pairs, smaller_is_better

Printed = pytest.CaptureFixture[str]
HEAD = "lm_head.weight"


async def trained(data: LabelledData, place: Path, **options: object) -> Path:
    trainer = open_trainer("pocket", options, place=place, method="dpo")
    job = await start(trainer, lambda: training_data(data, trainer, place), place)
    return Path(trainer.result(await follow(trainer, place, job)).spec.partition(":")[2])


def gained(folder: Path, pairs: Pairs) -> np.ndarray:
    """Log p of the better reply less that of the worse one, per pair, by the model itself."""
    model, found = PocketModel.load(folder), []
    for prompt, *replies in pairs:
        asked = len(model.encode(prompt))
        both = [model.token_logprobs(model.encode(prompt) + model.encode(reply))[asked:].sum() for reply in replies]
        found.append(both[0] - both[1])
    return np.array(found)


def loss(folder: Path, pairs: Pairs, beta: float) -> float:
    return float(np.log1p(np.exp(-beta * (gained(folder, pairs) - gained(WEIGHTS, pairs)))).mean())


async def test_it_descends_the_loss_of_the_paper(tmp_path: Path) -> None:
    """A step of the rate r changes the weights by -r * slope, and so the loss by about -|change|^2 / r."""
    pairs, beta, rate = smaller_is_better(10, 1), 0.3, 0.5
    assert loss(WEIGHTS, pairs, beta) == pytest.approx(np.log(2))
    once = await trained(preferred(pairs), tmp_path / "once", epochs=1, learning_rate=rate, beta=beta)
    before, after = (load_file(folder / "model.safetensors") for folder in (WEIGHTS, once))
    assert [name for name in before if not np.array_equal(before[name], after[name])] == [HEAD]
    change = after[HEAD].astype(np.float64) - before[HEAD].astype(np.float64)
    assert loss(once, pairs, beta) - np.log(2) == pytest.approx(-(change**2).sum() / rate, rel=0.15)
    longer = [await trained(preferred(pairs), tmp_path / str(n), epochs=n, beta=beta) for n in (5, 50)]
    assert loss(longer[1], pairs, beta) < loss(longer[0], pairs, beta) < np.log(2)


async def test_what_is_preferred_becomes_likelier_after_prompts_that_it_never_saw(tmp_path: Path) -> None:
    tuned = await trained(preferred(smaller_is_better(40, 2)), tmp_path, learning_rate=1)
    held_out = smaller_is_better(30, 9)
    change = gained(tuned, held_out) - gained(WEIGHTS, held_out)
    assert np.mean(change > 0) > 0.8
    assert change.mean() > 1


def test_the_command_trains_on_the_runs_pairs_or_on_what_best_wrote(tmp_path: Path, capsys: Printed) -> None:
    run = finished_run(tmp_path, MadeUp([f"{at}>{at + 1}" for at in range(12)]))
    best = tmp_path / "best.jsonl"
    line = {"id": "a", "prompt": "50>", "best": "15", "replies": ["95", "15", "60"], "scores": [-1.0, 1.2, -0.2]}
    best.write_text("".join(json.dumps(row) + "\n" for row in (line, {"id": "b", "refused": "a filter"})))
    assert main(["train", str(run), "--dpo", str(best), "--with", "pocket", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["probe", found["model"]["spec"], "--json"]) == 0
    rows = (Path(found["folder"]) / "data" / "train.jsonl").read_text().splitlines()
    [row] = map(json.loads, rows)
    assert [row[key][0]["content"] for key in ("prompt", "chosen", "rejected")] == ["50>", "15", "95"]
    capsys.readouterr()
    # The same replies under another name are the same; others are not.
    (tmp_path / "moved.jsonl").write_bytes(best.read_bytes())
    assert main(["train", str(run), "--dpo", str(tmp_path / "moved.jsonl"), "--with", "pocket"]) == 0
    best.write_text(json.dumps({**line, "scores": [1.0, -1.0, 0.0]}) + "\n")
    assert main(["train", str(run), "--dpo", str(best), "--with", "pocket"]) == 2
    assert "was started with file = " in capsys.readouterr().err
    assert main(["train", str(run), "--dpo", "--with", "pocket"]) == 2
    assert "now the usual value of file" in capsys.readouterr().err
    # Labels of claims are preferred to the other label; a folder of its own for each way to train.
    assert main(["train", str(run), "--dpo", "--with", "pocket", "--again"]) == 0
    assert main(["train", str(run), "--with", "pocket"]) == 0
    assert len(list((run / "training").iterdir())) == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            '{"id": "a", "prompt": "q", "replies": ["x"], "scores": [1.0, 2.0]}\n',
            "best.jsonl:1.*no replies with a score",
        ),
        ('{"id": "a", "prompt": "q", "solutions": ["x"]}\n', "as `icm-api best` writes them"),
        ('{"id": "a", "refused": "a filter"}\n', "no ranked replies"),
    ],
)
def test_a_file_that_best_did_not_write_is_said(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "best.jsonl").write_text(content)
    with pytest.raises(DataError, match=told):
        read_best(tmp_path / "best.jsonl")
