"""Fine-tuning at Together: files in three steps, limits and price from the host itself, and `fine-tunes`.

A file's content goes where the host says, without the key. A job carries the mark of its record as its suffix, and its
file was sent for it alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import httpx2

from icm_api.errors import ConfigError, DataError, ProviderError, RequestError
from icm_api.export import FORMATS, FormatName
from icm_api.model.endpoints.http import checked_url, transport_error
from icm_api.model.endpoints.network import is_loopback, network
from icm_api.training.host import Ask, list_in, number_in
from icm_api.training.hosted import HostedTrainer
from icm_api.training.options import TogetherPreferenceTraining, TogetherTraining
from icm_api.training.values import Estimate, Job, State, TrainingData, Tuned

_STATES: Mapping[str, State] = MappingProxyType(
    {
        "pending": "validating",
        "queued": "queued",
        "running": "running",
        "compressing": "running",
        "uploading": "running",
        "cancel_requested": "running",
        "cancelled": "cancelled",
        "user_error": "failed",
        "error": "failed",
        "completed": "succeeded",
    }
)
_CHECKING = ("PENDING", "QUEUED", "RUNNING")
_BAD_FILE = ("FAILED", "INVALID_FORMAT")
_PRICE_LATER = "Together says the price once it has the file, which costs nothing; it is asked before a job is started"
_DEPLOY = "Together answers for it as for its base model, or once it runs on an endpoint of your own"


class TogetherTrainer(HostedTrainer):
    """Fine-tuning with LoRA at Together, supervised or on preferences; implements `Trainer`.

    Args:
        entry: of the catalogue.
        model: to train.
        options: of the user.
    """

    options: TogetherTraining
    jobs_path, states = "/fine-tunes", _STATES

    @property
    def format(self) -> FormatName:
        """Prompts and completions, or chat messages; or preferences."""
        if self.method == "dpo":
            return "together-dpo"
        return "trl-sft" if self.options.data == "completion" else "together-sft"

    def notes(self) -> tuple[str, ...]:
        """When the price is known."""
        return () if self.options.price is not None else (_PRICE_LATER,)

    async def estimate(self, data: TrainingData) -> Estimate:
        """Counted here, and checked against the limits that the host states for the model.

        Args:
            data: to train on.

        Raises:
            ConfigError: an option is outside the limits.
            RequestError: the host does not answer, or has no such model to train.
        """
        limits = await self.host.ask(Ask("GET", "/fine-tunes/models/limits", query={"model_name": self.model}))
        self._check(limits)
        complaints = FORMATS["together-sft"].host.complaints(data.path.name, data.rows, data.size)
        if complaints:
            raise ConfigError("; ".join(complaints))
        longest = number_in(limits.get(f"max_seq_length_{self.method}"))
        told = () if longest is None else (f"rows longer than {longest:,} tokens are cut",)
        found = await super().estimate(data)
        return replace(found, notes=(*found.notes, *told))

    def _check(self, limits: Mapping[str, Any]) -> None:
        options, lora = self.options, limits.get("lora_training")
        many = "_dpo" if self.method == "dpo" else ""
        within = lora if isinstance(lora, Mapping) else {}
        bounds = (
            ("epochs", options.epochs, 1, limits.get("max_num_epochs")),
            ("learning_rate", options.learning_rate, limits.get("min_learning_rate"), limits.get("max_learning_rate")),
            ("batch_size", options.batch_size, within.get("min_batch_size"), within.get(f"max_batch_size{many}")),
            ("lora_rank", options.lora_rank, 1, within.get("max_rank")),
        )
        for name, value, least, most in bounds:
            low = least if isinstance(least, int | float) else 0
            high = most if isinstance(most, int | float) else float("inf")
            if value is not None and not low <= value <= high:
                raise ConfigError(
                    f"{self.identity}: {name} = {value:g} is outside what the host takes for this model, "
                    f"{low:g} to {high:g}",
                    option=name,
                )

    async def send(self, data: TrainingData, mark: str) -> str:
        """Announce the file, put its content where the host says, and wait until it was looked at.

        Args:
            data: to train on.
            mark: what the file is called.

        Raises:
            DataError: the host can make nothing of it.
            RequestError: it could not be sent.
        """
        content = await asyncio.to_thread(data.path.read_bytes)
        form = {
            "purpose": "fine-tune",
            "file_name": f"{mark}.jsonl",
            "file_type": "jsonl",
            "checksum": sha256(content).hexdigest(),
        }
        answer = await self.host.again(lambda: self.host.response(Ask("POST", "/files", form, form=True)))
        headers = {"id": answer.headers.get("x-together-file-id")}
        file = self.host.name_in(headers, "id")
        await self.host.again(lambda: self._put(str(answer.headers.get("location")), content))
        told = await self.host.ask(Ask("POST", f"/files/{file}/preprocess"))
        while told.get("processing_status") in _CHECKING:
            await asyncio.sleep(self.options.poll_seconds)
            told = await self.host.ask(Ask("GET", f"/files/{file}"))
        if told.get("processing_status") in _BAD_FILE:
            report = told.get("validation_report")
            why = report.get("error") if isinstance(report, Mapping) else None
            raise DataError(f"{data.path}: {self.identity} cannot read it: {str(why)[:300]}")
        return file

    async def _put(self, where: str, content: bytes) -> None:
        """Put content where the host says, without the key."""
        if not is_loopback(httpx2.URL(self.host.url).host) and not where.startswith("https://"):
            raise RequestError(f"{self.identity}: the host names no https address for the file", kind="broken_answer")
        url = checked_url(where)
        try:
            async with httpx2.AsyncClient(**network(url), timeout=httpx2.Timeout(300.0, connect=10.0)) as client:
                answer = await client.put(url, content=content)
        except httpx2.TransportError as error:
            raise transport_error(error, self.identity, "", url) from None
        if not answer.is_success:
            told = f"{self.identity}: the storage did not take the file: HTTP status {answer.status_code}"
            raise RequestError(told, kind="server", status=answer.status_code)

    async def quote(self, data: TrainingData, file: str) -> Estimate | None:
        """Tokens and price as the host says them.

        Args:
            data: to train on.
            file: id of the file.

        Raises:
            ProviderError: the account may not start a job of this price.
            RequestError: the host does not answer.
        """
        options = self.options
        body: dict[str, Any] = {
            "training_file": file,
            "model": self.model,
            "n_epochs": options.epochs,
            "training_method": self._how(),
        }
        if (lora := self._lora()) is not None:
            body["training_type"] = lora
        told = await self.host.ask(Ask("POST", "/fine-tunes/estimate-price", body))
        if told.get("estimation_available") is not True:
            return None
        money, tokens = told.get("estimated_total_price"), number_in(told.get("estimated_train_token_count"))
        if told.get("allowed_to_proceed") is False:
            raise ProviderError(
                f"{self.identity}: the host says that a job of {money} USD is above this account's limit of "
                f"{told.get('user_limit')} USD: raise the limit there, then repeat the command; no job was started"
            )
        if not isinstance(money, int | float) or tokens is None:
            return None
        return Estimate(data.rows, options.epochs, tokens, float(money), notes=("as Together says",))

    def body(self, file: str, mark: str) -> dict[str, Any]:
        """What starts a job.

        Args:
            file: id of the file.
            mark: by which it can be found again.
        """
        options = self.options
        body: dict[str, Any] = {
            "training_file": file,
            "model": self.model,
            "n_epochs": options.epochs,
            "learning_rate": options.learning_rate,
            "warmup_ratio": 0.0,
            "max_grad_norm": 1.0,
            "weight_decay": 0.0,
            "batch_size": "max" if options.batch_size is None else options.batch_size,
            "n_checkpoints": 1,
            "training_method": self._how(),
            "suffix": mark,
        }
        if options.seed is not None:
            body["random_seed"] = options.seed
        if (lora := self._lora()) is not None:
            body["training_type"] = lora
        return body

    def _how(self) -> dict[str, Any]:
        if isinstance(self.options, TogetherPreferenceTraining):
            return {"method": "dpo", "dpo_beta": self.options.beta}
        return {"method": "sft", "train_on_inputs": False}

    def _lora(self) -> dict[str, Any] | None:
        rank = self.options.lora_rank
        if rank is None:
            return None
        return {"type": "Lora", "lora_r": rank, "lora_alpha": 2 * rank, "lora_trainable_modules": "all-linear"}

    async def find(self, file: str, mark: str) -> Job | None:
        """The job of this file or mark among all of the account."""
        for each in list_in(await self.host.ask(Ask("GET", self.jobs_path))):
            if each.get("training_file") == file or each.get("suffix") == mark:
                return self.job_in(each)
        return None

    def result(self, job: Job) -> Tuned:
        """The model by its name at Together, asked as it was trained."""
        elsewhere = "" if self.options.base_url is None else f"@{self.host.url}"
        options = {"api": "chat"} if self.options.data == "chat" else {}
        return Tuned(f"together:{job.model}{elsewhere}", options, _DEPLOY)

    def job_in(self, answer: Mapping[str, Any]) -> Job:
        state = self.state_in(answer.get("status"))
        progress = answer.get("progress")
        known = isinstance(progress, Mapping) and progress.get("estimate_available") is True
        left = number_in(progress.get("seconds_remaining")) if known and isinstance(progress, Mapping) else None
        events = [str(event.get("message")) for event in list_in(answer, "events")]
        return Job(
            self.host.name_in(answer, "id"),
            state,
            self.host.name_in(answer, "model_output_name") if state == "succeeded" else None,
            seconds=None if left is None else float(left),
            tokens=number_in(answer.get("token_count")),
            error=(events[-1] if events else "Together gives no reason")[:500] if state == "failed" else "",
        )
