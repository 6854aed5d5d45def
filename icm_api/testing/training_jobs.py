"""Fine-tuning jobs of the loopback server, in the shapes of OpenAI, Azure, Together and Fireworks; nothing is trained.

It does: keep files and jobs, move a job one state on each time that it is looked at, count submissions, and give every
job a model at its end. It does not: know HTTP (`training_routes` does), or read what is in a file but its rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, TypeAlias

from icm_api.errors import ConfigError
from icm_api.testing.faults import Faults

Phase: TypeAlias = Literal["validating", "queued", "running", "succeeded", "failed", "cancelled"] | str
"""A state in one word for all hosts, or a host's own word for one."""
SUCCEEDS: tuple[Phase, ...] = ("validating", "queued", "running", "succeeded")
FAILS: tuple[Phase, ...] = ("validating", "queued", "running", "failed")
_BORN = 1_790_000_000
_TOKENS_A_BYTE = 0.25
_OPENAI: Mapping[Phase, str] = {"validating": "validating_files"}
_TOGETHER: Mapping[Phase, str] = {"validating": "pending", "succeeded": "completed", "failed": "error"}
_FIREWORKS: Mapping[Phase, str] = {
    "validating": "JOB_STATE_VALIDATING",
    "queued": "JOB_STATE_PENDING",
    "running": "JOB_STATE_RUNNING",
    "succeeded": "JOB_STATE_COMPLETED",
    "failed": "JOB_STATE_FAILED",
    "cancelled": "JOB_STATE_CANCELLED",
}


@dataclass
class MadeJob:
    """A job at the server.

    Attributes:
        id: by which it is known.
        body: that started it.
        phases: that are still to come, the present one first.
        model: what comes out.
    """

    id: str
    body: Mapping[str, Any]
    phases: list[Phase]
    model: str

    @property
    def phase(self) -> Phase:
        """The present one."""
        return self.phases[0]

    def move(self) -> None:
        """Go on to the next phase, if there is one."""
        if len(self.phases) > 1:
            del self.phases[0]


@dataclass
class TrainingJobs:
    """What the server shall do with jobs, and what it has been asked so far.

    Attributes:
        phases: of every job, one after each look at it; the last is kept.
        cancels: likewise, of a job that is cancelled.
        faults: what requests meet, as for questions to a model; "cut" does what was asked, and loses the answer.
        price: USD per million tokens, as Together estimates it; None for an estimate that is not available.
        allowed: whether Together lets a job of this price be started.
        submissions: how many jobs were made.
        uploads: how many files were brought.
    """

    phases: Sequence[Phase] = SUCCEEDS
    cancels: Sequence[Phase] = ("cancelled",)
    faults: Faults | None = None
    price: float | None = 0.5
    allowed: bool = True
    submissions: int = 0
    uploads: int = 0
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    jobs: dict[str, MadeJob] = field(default_factory=dict)
    bodies: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        if not self.phases:
            raise ConfigError("training jobs: a job has one phase at least")

    def keep(self, name: str, content: bytes, identity: str | None = None) -> str:
        """Keep a file.

        Args:
            name: of the file.
            content: its bytes.
            identity: its id; by default a new one.
        """
        with self._lock:
            self.uploads += 1
            key = identity or f"file-{self.uploads:06d}"
            self.files[key] = name, content
            return key

    def submit(self, body: Mapping[str, Any], model: str, identity: str | None = None) -> MadeJob:
        """Make a job.

        Args:
            body: that asked for it.
            model: what comes out.
            identity: its id; by default a new one.
        """
        with self._lock:
            self.submissions += 1
            key = identity or f"ftjob-{self.submissions:06d}"
            self.jobs[key] = MadeJob(key, body, list(self.phases), model)
            return self.jobs[key]

    def tokens(self, file: str) -> int:
        """About how many tokens a file has."""
        return int(len(self.files[file][1]) * _TOKENS_A_BYTE)

    def openai(self, job: MadeJob) -> dict[str, Any]:
        """A job as OpenAI and Azure tell of it."""
        body, done = job.body, job.phase == "succeeded"
        failed = {"code": "invalid_training_file", "message": "The job failed.", "param": None}
        return {
            "id": job.id,
            "object": "fine_tuning.job",
            "created_at": _BORN,
            "error": failed if job.phase == "failed" else None,
            "fine_tuned_model": job.model if done else None,
            "finished_at": _BORN + 600 if done else None,
            "estimated_finish": None,
            "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.0},
            "metadata": body.get("metadata"),
            "method": body.get("method"),
            "model": body["model"],
            "organization_id": "org-test",
            "result_files": [],
            "seed": body.get("seed") or 0,
            "status": _OPENAI.get(job.phase, job.phase),
            "trained_tokens": self.tokens(str(body["training_file"])) if done else None,
            "training_file": body["training_file"],
            "validation_file": None,
        }

    def together(self, job: MadeJob) -> dict[str, Any]:
        """A job as Together tells of it."""
        body, done = job.body, job.phase == "succeeded"
        return {
            "id": job.id,
            "status": _TOGETHER.get(job.phase, job.phase),
            "user_id": "user-test",
            "created_at": "2026-11-26T12:00:00Z",
            "updated_at": "2026-11-26T12:00:00Z",
            "model": body["model"],
            "model_output_name": job.model,
            "adapter_output_name": None,
            "training_file": body["training_file"],
            "suffix": body.get("suffix"),
            "n_epochs": body["n_epochs"],
            "token_count": self.tokens(str(body["training_file"])) if done else None,
            "progress": {"estimate_available": job.phase == "running", "seconds_remaining": 60},
            "events": [],
        }

    def together_price(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What Together says that a job will cost."""
        if self.price is None:
            return {"estimation_available": False, "unavailable_reason": "train_file_not_validated"}
        tokens = self.tokens(str(body["training_file"])) * int(body.get("n_epochs", 1))
        return {
            "estimation_available": True,
            "allowed_to_proceed": self.allowed,
            "estimated_total_price": tokens / 1e6 * self.price,
            "estimated_train_token_count": float(tokens),
            "estimated_eval_token_count": 0.0,
            "user_limit": 100.0,
        }

    def fireworks(self, job: MadeJob) -> dict[str, Any]:
        """A job as Fireworks tells of it."""
        told = {"code": "INVALID_ARGUMENT", "message": "The job failed."}
        return {
            **job.body,
            "name": job.id,
            "state": _FIREWORKS.get(job.phase, job.phase),
            "status": told if job.phase == "failed" else {"code": "OK", "message": ""},
            "jobProgress": {"percent": 50 if job.phase == "running" else 0, "epoch": 0},
            "outputModel": job.model,
        }


def together_limits(model: str) -> dict[str, Any]:
    """The limits of a model at Together.

    Args:
        model: its name.
    """
    batch = {"max_batch_size": 128, "max_batch_size_dpo": 64, "min_batch_size": 8}
    return {
        "model_name": model,
        "default_gradient_accumulation_steps": 1,
        "lora_training": {**batch, "default_rank": 64, "max_rank": 64, "target_modules": ["q_proj", "v_proj"]},
        "full_training": batch,
        "max_learning_rate": 0.1,
        "min_learning_rate": 1e-8,
        "max_num_checkpoints": 10,
        "max_num_epochs": 20,
        "max_num_evals": 100,
        "max_seq_length_dpo": 8192,
        "max_seq_length_sft": 32768,
        "min_max_seq_length": 512,
        "merge_output_lora": True,
        "supports_full_training": True,
        "supports_reasoning": False,
        "supports_tools": False,
        "supports_vision": False,
    }


def rows_of(content: bytes) -> int | None:
    """Rows of a file of JSON Lines; None if a line is no JSON object."""
    try:
        lines = [json.loads(line) for line in content.removeprefix(b"\xef\xbb\xbf").splitlines()]
    except ValueError:
        return None
    return len(lines) if all(isinstance(line, dict) for line in lines) else None
