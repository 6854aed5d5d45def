"""Trainers against the loopback server: every host by its spec, and labels to train on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from icm_api.pocket.model import PocketModel
from icm_api.testing import Server, TrainingJobs, serve
from icm_api.testing.backend import InstantBackend
from icm_api.training import Method, Trainer, TrainingData, open_trainer, training_data
from tests.labelled import claims, preferred

HOSTS = ("openai", "azure", "together", "fireworks")
KEYS = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "TOGETHER_API_KEY", "FIREWORKS_API_KEY")
MODEL = "base-model"


@dataclass
class Place:
    """A host that trains, and where its jobs are recorded.

    Attributes:
        server: the loopback server.
        jobs: what it knows of jobs.
        host: a name in `HOSTS`.
        folder: of the records.
        made: how often the data were written.
        method: what is trained.
    """

    server: Server
    jobs: TrainingJobs
    host: str
    folder: Path
    made: list[TrainingData] = field(default_factory=list)
    method: Method = "sft"

    def trainer(self, **options: Any) -> Trainer:
        """A trainer, as a process of its own would open it."""
        spec = f"{self.host}:{MODEL}@{self.server.url}"
        return open_trainer(spec, {"poll_seconds": 0.0, **options}, place=self.folder, method=self.method)

    def data(self, trainer: Trainer) -> TrainingData:
        """Twelve claims, or pairs of replies, as the trainer reads them."""
        labelled = claims([f"claim {at}" for at in range(12)], instruction="Judge.")
        if self.method == "dpo":
            labelled = preferred([(f"Question {at}?", f"good {at}", f"bad {at}") for at in range(12)])
        self.made.append(training_data(labelled, trainer, self.folder))
        return self.made[-1]


@cache
def _model() -> PocketModel:
    return PocketModel.load()


@contextmanager
def training_at(host: str, folder: Path, jobs: TrainingJobs | None = None) -> Iterator[Place]:
    """A server that takes jobs."""
    known = jobs or TrainingJobs()
    with serve(backend=InstantBackend(_model()), training=known) as server:
        yield Place(server, known, host, folder)
