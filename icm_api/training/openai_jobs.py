"""Fine-tuning at OpenAI, and at Azure, which speaks the same: files and `fine_tuning/jobs`.

A job carries the mark of its record in its metadata and its suffix, and its file was sent for it alone; any of the
three tells it apart from all others in the host's list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from openai.types.fine_tuning import DpoHyperparametersParam, JobCreateParams, SupervisedHyperparametersParam
from openai.types.fine_tuning.job_create_params import Method

from icm_api.errors import DataError, RequestError
from icm_api.export import FormatName
from icm_api.training.host import Ask, list_in, number_in
from icm_api.training.hosted import HostedTrainer
from icm_api.training.options import OpenAIPreferenceTraining, OpenAITraining
from icm_api.training.values import Job, State, TrainingData, Tuned

CLOSING = (
    "OpenAI is closing fine-tuning to its customers: since 2026-07-02 new jobs are for organizations alone that used a "
    "fine-tuned model in the 60 days before, and from 2027-01-06 for none; a fine-tuned model ends with its base "
    "(gpt-4o and gpt-4.1 on 2027-01-14); gpt-6-luna cannot be fine-tuned"
)
"""What is known of that, as of November 2026."""
_DEPLOY = "deploy it in the Azure resource first, under this name"
_STATES: Mapping[str, State] = MappingProxyType(
    {
        "validating_files": "validating",
        "pending": "queued",
        "queued": "queued",
        "paused": "queued",
        "running": "running",
        "succeeded": "succeeded",
        "failed": "failed",
        "cancelled": "cancelled",
    }
)
_MARK = "icm_api"
_PAGE, _MOST_PAGES = 100, 10
_PENDING = ("pending", "running")


class OpenAITrainer(HostedTrainer):
    """Fine-tuning at OpenAI or Azure, supervised or on preferences; implements `Trainer`.

    Args:
        entry: of the catalogue.
        model: to train.
        options: of the user.
    """

    options: OpenAITraining
    jobs_path, states = "/fine_tuning/jobs", _STATES

    @property
    def _azure(self) -> bool:
        return self._entry.name == "azure"

    @property
    def format(self) -> FormatName:
        """Chat messages, or preferences."""
        if self.method == "dpo":
            return "azure-dpo" if self._azure else "openai-dpo"
        return "azure-sft" if self._azure else "openai-sft"

    def notes(self) -> tuple[str, ...]:
        """When OpenAI closes; and what Azure still wants."""
        return (f"when it has succeeded: {_DEPLOY}",) if self._azure else (CLOSING,)

    def body(self, file: str, mark: str) -> JobCreateParams:
        """What starts a job.

        Args:
            file: id of the file.
            mark: by which it can be found again.
        """
        body = JobCreateParams(
            model=self.model,
            training_file=file,
            method=self._how(),
            metadata={_MARK: mark},
            suffix=mark,
        )
        if self.options.seed is not None:
            body["seed"] = self.options.seed
        return body

    def _how(self) -> Method:
        options = self.options
        common = SupervisedHyperparametersParam(n_epochs="auto" if options.epochs is None else options.epochs)
        if options.batch_size is not None:
            common["batch_size"] = options.batch_size
        if options.learning_rate_multiplier is not None:
            common["learning_rate_multiplier"] = options.learning_rate_multiplier
        if not isinstance(options, OpenAIPreferenceTraining):
            return {"type": "supervised", "supervised": {"hyperparameters": common}}
        held: DpoHyperparametersParam = {} if options.beta is None else {"beta": options.beta}
        return {"type": "dpo", "dpo": {"hyperparameters": {**held, **common}}}

    async def send(self, data: TrainingData, mark: str) -> str:
        """Upload the file, and wait until it was looked at.

        Args:
            data: to train on.
            mark: what the file is called.

        Raises:
            DataError: the host can make nothing of it.
            RequestError: it could not be sent.
        """
        content = await asyncio.to_thread(data.path.read_bytes)
        answer = await self.host.ask(Ask("POST", "/files", {"purpose": "fine-tune"}, file=(f"{mark}.jsonl", content)))
        file = self.host.name_in(answer, "id")
        while answer.get("status") in _PENDING:
            await asyncio.sleep(self.options.poll_seconds)
            answer = await self.host.ask(Ask("GET", f"/files/{file}"))
        if answer.get("status") == "error":
            raise DataError(f"{data.path}: {self.identity} cannot read it: {str(answer.get('status_details'))[:300]}")
        return file

    async def start(self, file: str, mark: str) -> Job:
        """Start a job.

        Args:
            file: id of the file.
            mark: by which it can be found again.

        Raises:
            RequestError: the host refused it, or gave no answer.
        """
        try:
            return await super().start(file, mark)
        except RequestError as error:
            if self._azure or error.kind not in ("bad_request", "permission", "not_found"):
                raise
            raise RequestError(f"{error} ({CLOSING})", kind=error.kind, status=error.status) from error

    async def find(self, file: str, mark: str) -> Job | None:
        """The job of this file or mark in the host's list, the newest first."""
        after: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            answer = await self.host.ask(Ask("GET", self.jobs_path, query={"limit": str(_PAGE), **after}))
            page = list_in(answer)
            for each in page:
                metadata = each.get("metadata")
                marked = isinstance(metadata, Mapping) and metadata.get(_MARK) == mark
                if marked or each.get("training_file") == file or each.get("suffix") == mark:
                    return self.job_in(each)
            if not page or answer.get("has_more") is not True:
                return None
            after = {"after": self.host.name_in(page[-1], "id")}
        return None

    def result(self, job: Job) -> Tuned:
        """The model by its name at OpenAI; at Azure by the name that its deployment shall have."""
        if self._azure:
            return Tuned(f"azure:{job.model}@{self.host.url}", note=_DEPLOY)
        elsewhere = "" if self.options.base_url is None else f"@{self.host.url}"
        return Tuned(f"openai:{job.model}{elsewhere}")

    def job_in(self, answer: Mapping[str, Any]) -> Job:
        state = self.state_in(answer.get("status"))
        error = answer.get("error")
        said = str(error.get("message") or "") if isinstance(error, Mapping) else ""
        return Job(
            self.host.name_in(answer, "id"),
            state,
            self.host.name_in(answer, "fine_tuned_model") if state == "succeeded" else None,
            tokens=number_in(answer.get("trained_tokens")),
            error=said[:500],
        )
