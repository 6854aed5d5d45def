"""Tinker's training loop with a stand-in for its service: what is sent, cuts, refusals, and the weights that come out.

If the package is installed, its own types check what is sent; if not, plain values take their place.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from icm_api.errors import ConfigError, ProviderError, RunError
from icm_api.training import Job, Trainer, cancel, follow, open_trainer, start, training_data
from tests.labelled import claims

SPEC = "tinker-native:Qwen/Qwen3-8B-Base"


class TinkerError(Exception):
    """As the package's own, with the status of HTTP on some."""

    def __init__(self, said: str, status_code: int | None = None) -> None:
        super().__init__(said)
        self.status_code = status_code


@dataclass
class Service:
    """In place of `tinker.ServiceClient` and the clients it makes: keeps what it was sent."""

    made: list[dict[str, Any]] = field(default_factory=list)
    batches: list[list[Any]] = field(default_factory=list)
    adams: list[Any] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    fails: TinkerError | None = None
    fails_at: int = 0

    def ServiceClient(self) -> Service:  # noqa: N802
        return self

    def create_lora_training_client(self, **asked: Any) -> Any:
        self.made.append(asked)
        return SimpleNamespace(result=lambda: self)

    def create_training_client_from_state_with_optimizer(self, path: str, **asked: Any) -> Any:
        assert path in self.saved
        return self.create_lora_training_client(path=path, **asked)

    def get_tokenizer(self) -> Any:
        """A token a character, and one before all."""

        def tokenize(text: str, add_special_tokens: bool, return_offsets_mapping: bool) -> dict[str, Any]:
            assert add_special_tokens
            assert return_offsets_mapping
            return {
                "input_ids": [1, *map(ord, text)],
                "offset_mapping": [(0, 0), *((at, at + 1) for at in range(len(text)))],
            }

        return tokenize

    def forward_backward(self, data: list[Any], loss: str) -> Any:
        assert loss == "cross_entropy"
        if self.fails is not None and len(self.batches) == self.fails_at:
            raise self.fails
        self.batches.append(data)
        return SimpleNamespace(result=lambda: None)

    def optim_step(self, adam: Any) -> Any:
        self.adams.append(adam)
        return SimpleNamespace(result=lambda: None)

    def save_state(self, name: str, ttl_seconds: int, overwrite: bool) -> Any:
        assert overwrite
        assert ttl_seconds >= 3600
        return self._kept(f"tinker://run-{len(self.made)}/weights/{name}")

    def save_weights_for_sampler(self, name: str) -> Any:
        return self._kept(f"tinker://run-{len(self.made)}/sampler_weights/{name}")

    def _kept(self, path: str) -> Any:
        self.saved.append(path)
        return SimpleNamespace(result=lambda: SimpleNamespace(path=path))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service()
    if find_spec("tinker") is not None:
        import tinker

        monkeypatch.setattr(tinker, "ServiceClient", made.ServiceClient)
        monkeypatch.setattr(tinker, "TinkerError", TinkerError)
        return made
    package = ModuleType("tinker")
    package.__spec__ = ModuleSpec("tinker", None)
    package.__dict__.update(
        ServiceClient=made.ServiceClient,
        TinkerError=TinkerError,
        AdamParams=lambda **given: SimpleNamespace(**given),
        ModelInput=SimpleNamespace(from_ints=lambda ids: SimpleNamespace(to_ints=lambda: list(ids))),
        Datum=lambda **given: SimpleNamespace(**given),
    )
    monkeypatch.setitem(sys.modules, "tinker", package)
    return made


def opened(place: Path, **options: Any) -> Trainer:
    return open_trainer(SPEC, {"epochs": 2, "batch_size": 5, **options}, place=place)


async def begun(trainer: Trainer, place: Path) -> Job:
    return await start(trainer, lambda: training_data(claims(f"claim {at}" for at in range(12)), trainer, place), place)


def numbers(tensor: Any) -> list[float]:
    return list(tensor if isinstance(tensor, list) else tensor.data)


async def test_what_is_sent_and_what_comes_out(service: Service, tmp_path: Path) -> None:
    trainer = opened(tmp_path, learning_rate=1e-3, lora_rank=8)
    assert trainer.sent_to == trainer.identity == "tinker-native/Qwen/Qwen3-8B-Base"
    done: list[float] = []
    job = await begun(trainer, tmp_path)
    job = await follow(trainer, tmp_path, job, lambda seen: done.append(seen.done or 0.0))
    assert job.state == "succeeded"
    assert done == sorted(done)
    mark = {"icm_api": job.id}
    assert service.made == [
        {"base_model": "Qwen/Qwen3-8B-Base", "rank": 8, "seed": 0, "user_metadata": mark},
    ]
    # Twelve rows, five a step, twice; every row once an epoch.
    assert [len(batch) for batch in service.batches] == [5, 5, 2] * 2
    assert {adam.learning_rate for adam in service.adams} == {1e-3}
    rows = [bytes_of(datum) for batch in service.batches[:3] for datum in batch]
    assert sorted(rows) == sorted({f"Claim: claim {at}\nIt is {('True', 'False')[at % 2]}" for at in range(12)})
    for datum in service.batches[0]:
        ids, targets = datum.model_input.to_ints(), numbers(datum.loss_fn_inputs["target_tokens"])
        assert ids[1:] == targets[:-1]
        # Of the completion alone, the label with its space.
        counted = [int(t) for t, w in zip(targets, numbers(datum.loss_fn_inputs["weights"]), strict=True) if w]
        assert "".join(map(chr, counted)) in (" True", " False")
    assert service.saved == [
        f"tinker://run-1/weights/{job.id}-1",
        f"tinker://run-1/weights/{job.id}-2",
        f"tinker://run-1/sampler_weights/{job.id}",
    ]
    assert trainer.result(job).spec == f"tinker-native:{service.saved[-1]}"
    # Asked again, it is there, and nothing is sent.
    assert (await begun(trainer, tmp_path)).state == "succeeded"
    assert len(service.made) == 1


def bytes_of(datum: Any) -> str:
    targets = numbers(datum.loss_fn_inputs["target_tokens"])
    return "".join(chr(int(each)) for each in targets)


async def test_a_cut_goes_on_from_its_last_epoch(service: Service, tmp_path: Path) -> None:
    trainer = opened(tmp_path, epochs=3)
    job = await begun(trainer, tmp_path)
    service.fails, service.fails_at = TinkerError("connection reset"), 4
    with pytest.raises(ProviderError, match=r"connection reset; the same command goes on"):
        await follow(trainer, tmp_path, job)
    assert (await trainer.look(job.id)).state == "queued"
    service.fails = None
    again = opened(tmp_path, epochs=3)
    job = await follow(again, tmp_path, await begun(again, tmp_path))
    assert job.state == "succeeded"
    # The first epoch is not trained anew: four steps before the cut, six after it.
    assert service.made[1] == {"path": f"tinker://run-1/weights/{job.id}-1", "user_metadata": {"icm_api": job.id}}
    assert len(service.batches) == 4 + 2 * 3


async def test_a_refusal_fails_and_says_why(service: Service, tmp_path: Path) -> None:
    trainer = opened(tmp_path)
    service.fails = TinkerError("no such model to train", 400)
    job = await follow(trainer, tmp_path, await begun(trainer, tmp_path))
    assert (job.state, "no such model to train" in job.error) == ("failed", True)


async def test_it_can_be_cancelled_and_what_it_wrote_is_checked(service: Service, tmp_path: Path) -> None:
    trainer = opened(tmp_path)
    job = await begun(trainer, tmp_path)
    await cancel(trainer, tmp_path)
    assert (await follow(trainer, tmp_path, job)).state == "cancelled"
    assert service.batches == []
    other = tmp_path / "other"
    trainer = opened(other)
    job = await begun(trainer, other)
    (other / job.id / "epochs.json").write_text('{"epochs": 1, "path": "https://elsewhere/weights"}')
    with pytest.raises(RunError, match=r"epochs\.json: damaged"):
        await follow(trainer, other, job)


async def test_the_price_and_what_is_missing(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = opened(tmp_path, price=0.44)
    data = training_data(claims(["one", "two"]), trainer, tmp_path)
    found = await trainer.estimate(data)
    assert found.money == pytest.approx(found.tokens / 1e6 * 0.44)
    with pytest.raises(ConfigError, match="epoch"):
        opened(tmp_path, epoch=3)
    monkeypatch.setitem(sys.modules, "tinker", None)
    monkeypatch.setattr("icm_api.training.tinker_loop.find_spec", lambda name: None)
    with pytest.raises(ProviderError, match="pip install tinker"):
        opened(tmp_path)
