"""Fine-tuning at Fireworks: data sets, and `supervisedFineTuningJobs`, or `dpoJobs` for preferences.

Whoever starts a job there chooses its id: the mark of the record. So a second request for the same job is refused by
the host itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from icm_api.errors import ConfigError, DataError, RequestError
from icm_api.export import FormatName
from icm_api.model.host import Entry
from icm_api.training.host import Ask, number_in
from icm_api.training.hosted import HostedTrainer
from icm_api.training.options import FireworksPreferenceTraining, FireworksTraining
from icm_api.training.values import Job, Method, State, TrainingData, Tuned

_STATES: Mapping[str, State] = MappingProxyType(
    {
        "CREATING": "validating",
        "CREATING_INPUT_DATASET": "validating",
        "VALIDATING": "validating",
        "PENDING": "queued",
        "PAUSED": "queued",
        "IDLE": "queued",
        "RE_QUEUEING": "queued",
        "UNSPECIFIED": "queued",
        "RUNNING": "running",
        "WRITING_RESULTS": "running",
        "CANCELLING": "running",
        "COMPLETED": "succeeded",
        "EARLY_STOPPED": "succeeded",
        "FAILED": "failed",
        "EXPIRED": "failed",
        "CANCELLED": "cancelled",
        "DELETING": "cancelled",
        "DELETING_CLEANING_UP": "cancelled",
    }
)
_ACCOUNT = "FIREWORKS_ACCOUNT_ID"
_MOST_BYTES = 150_000_000
_DEPLOY = "Fireworks answers for it once it is deployed: firectl deployment create, or on their site"


class FireworksTrainer(HostedTrainer):
    """Fine-tuning with LoRA at Fireworks, supervised or on preferences; implements `Trainer`.

    Args:
        entry: of the catalogue.
        model: to train.
        options: of the user.
        method: "sft", or "dpo" for preferences.

    Raises:
        ConfigError: neither the options nor the environment name the account.
    """

    options: FireworksTraining
    states = _STATES

    def __init__(self, entry: Entry, model: str, options: FireworksTraining, method: Method = "sft") -> None:
        super().__init__(entry, model, options, method)
        account = options.account or os.environ.get(_ACCOUNT, "").strip()
        if not account:
            raise ConfigError(f"no account: set the environment variable {_ACCOUNT}, or --option account=ID")
        self._account = self.host.name_in({"account": account}, "account")
        self._kind = "dpoJob" if method == "dpo" else "supervisedFineTuningJob"
        self.jobs_path = self._path(f"{self._kind}s")

    def jobs_url(self, url: str) -> str:
        """Jobs are taken beside questions, not below them."""
        return url.removesuffix("/inference/v1") + "/v1"

    @property
    def format(self) -> FormatName:
        """Chat messages, or preferences."""
        return "fireworks-dpo" if self.method == "dpo" else "fireworks-sft"

    def notes(self) -> tuple[str, ...]:
        """What has to be done with the model."""
        return (f"when it has succeeded: {_DEPLOY}",)

    async def send(self, data: TrainingData, mark: str) -> str:
        """Make a data set, upload its content, and wait until it is ready.

        Args:
            data: to train on.
            mark: the id of the data set.

        Raises:
            DataError: it is too large for one upload, or the host can make nothing of it.
            RequestError: it could not be sent.
        """
        if data.size > _MOST_BYTES:
            raise DataError(f"{data.path} has more than {_MOST_BYTES:,} bytes, which Fireworks takes by firectl alone")
        made = {"userUploaded": {}, "exampleCount": str(data.rows), "format": "CHAT"}
        await self.host.ask(Ask("POST", self._path("datasets"), {"datasetId": mark, "dataset": made}, there=True))
        content = await asyncio.to_thread(data.path.read_bytes)
        await self.host.ask(Ask("POST", self._path("datasets", f"{mark}:upload"), {}, file=(f"{mark}.jsonl", content)))
        while True:
            told = await self.host.ask(Ask("GET", self._path("datasets", mark)))
            status = told.get("status")
            code = status.get("code", "OK") if isinstance(status, Mapping) else "OK"
            if code != "OK":
                why = status.get("message") if isinstance(status, Mapping) else None
                raise DataError(f"{data.path}: {self.identity} cannot read it: {str(why)[:300]}")
            if told.get("state") == "READY":
                return mark
            await asyncio.sleep(self.options.poll_seconds)

    def body(self, file: str, mark: str) -> dict[str, Any]:
        """What starts a job.

        Args:
            file: id of the data set.
            mark: what job and model are called.
        """
        options, home = self.options, f"accounts/{self._account}"
        body: dict[str, Any] = {"dataset": f"{home}/datasets/{file}", "displayName": mark}
        given = {
            "baseModel": self.model,
            "outputModel": f"{home}/models/{mark}",
            "epochs": options.epochs,
            "learningRate": options.learning_rate,
            "loraRank": options.lora_rank,
            "batchSizeSamples": options.batch_size,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        if isinstance(options, FireworksPreferenceTraining):
            # Without a method the host takes another one.
            loss = {"method": "DPO", "dpo": {"beta": options.beta}}
            return {**body, "trainingConfig": settings, "lossConfig": loss}
        return body | settings

    async def start(self, file: str, mark: str) -> Job:
        """Start a job under the mark as its id.

        Args:
            file: id of the data set.
            mark: id of the job.

        Raises:
            RequestError: the host refused it, or gave no answer.
        """
        query = {f"{self._kind}Id": mark}
        return self.job_in(await self.host.once(Ask("POST", self.jobs_path, self.body(file, mark), query)))

    async def find(self, file: str, mark: str) -> Job | None:
        """The job of this id, if there is one.

        Args:
            file: id of the data set.
            mark: id of the job.

        Raises:
            RequestError: the host does not answer.
        """
        try:
            return await self.look(mark)
        except RequestError as error:
            if error.kind == "not_found":
                return None
            raise

    async def cancel(self, job: str) -> Job:
        """Cancel a job."""
        await self.host.ask(Ask("POST", f"{self.jobs_path}/{job}:cancel", {}))
        return await self.look(job)

    def result(self, job: Job) -> Tuned:
        """The model by its name at Fireworks, asked by messages, as it was trained."""
        elsewhere = "" if self.options.base_url is None else f"@{self.host.url}"
        return Tuned(f"fireworks:{job.model}{elsewhere}", {"api": "chat"}, _DEPLOY)

    def _path(self, *parts: str) -> str:
        return "/".join((f"/accounts/{self._account}", *parts))

    def job_in(self, answer: Mapping[str, Any]) -> Job:
        state = self.state_in(str(answer.get("state")).removeprefix("JOB_STATE_"))
        progress, status = answer.get("jobProgress"), answer.get("status")
        config = answer.get("trainingConfig")
        told = config if isinstance(config, Mapping) else answer
        percent = number_in(progress.get("percent")) if isinstance(progress, Mapping) else None
        said = str(status.get("message") or "") if isinstance(status, Mapping) else ""
        return Job(
            self.host.name_in(answer, "name").rpartition("/")[2],
            state,
            self.host.name_in(told, "outputModel") if state == "succeeded" else None,
            done=None if percent is None else min(percent, 100) / 100,
            error=(said or "Fireworks gives no reason")[:500] if state == "failed" else "",
        )
