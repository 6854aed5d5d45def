"""What a user may set of a training job besides the model, one class for each kind of trainer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_UNSHAPING = {"base_url", "key_variable", "allow_http", "price", "currency", "poll_seconds", "device"}


class TrainingOptions(BaseModel):
    """What every trainer takes.

    Attributes:
        epochs: how often each row is trained on; None leaves it to the host.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int | None = Field(default=3, ge=1)

    def order(self) -> dict[str, Any]:
        """What shapes the model that comes out, ready for JSON.

        Example:
            >>> OpenAITraining(price=3.0).order()
            {'epochs': 3, 'batch_size': None, 'seed': 0, 'learning_rate_multiplier': None}
        """
        return self.model_dump(mode="json", exclude=_UNSHAPING)


class HostedTraining(TrainingOptions):
    """What every host takes.

    Attributes:
        batch_size: rows a step; None leaves it to the host.
        seed: of what is drawn at random; None leaves it to the host.
        base_url: where the API is, with its version; by default as for questions to its models.
        key_variable: environment variable that holds the key.
        allow_http: send data and key unencrypted to other machines.
        price: what the host charges per million tokens that are trained on; None if you do not know.
        currency: of the price.
        poll_seconds: between two looks at a job that is followed.
    """

    batch_size: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=0, ge=0, lt=2**31)
    base_url: str | None = None
    key_variable: str | None = None
    allow_http: bool = False
    price: float | None = Field(default=None, ge=0)
    currency: str = "USD"
    poll_seconds: float = Field(default=10.0, ge=0)


class OpenAITraining(HostedTraining):
    """What OpenAI and Azure take.

    Attributes:
        learning_rate_multiplier: times the rate that the host finds right; None leaves it to the host.
    """

    learning_rate_multiplier: float | None = Field(default=None, gt=0)


class TogetherTraining(HostedTraining):
    """What Together takes.

    Attributes:
        epochs: Together wants a number.
        learning_rate: at its peak.
        lora_rank: of the matrices that are trained; None for the model's usual one.
        data: "completion" for prompts and labels as the search shows them, so that the model is asked as before;
            "chat" for messages.
    """

    epochs: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    lora_rank: int | None = Field(default=None, ge=1)
    data: Literal["chat", "completion"] = "completion"


class FireworksTraining(HostedTraining):
    """What Fireworks takes.

    Attributes:
        account: the account's id; by default what the variable FIREWORKS_ACCOUNT_ID says.
        learning_rate: at its peak; None leaves it to the host.
        lora_rank: of the matrices that are trained; None leaves it to the host.
        seed: Fireworks takes none.
    """

    account: str | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    lora_rank: int | None = Field(default=None, ge=1)
    seed: None = None


class OpenAIPreferenceTraining(OpenAITraining):
    """What OpenAI and Azure take for preferences (DPO).

    Attributes:
        beta: how strongly the model is held to what it was, at most 2; None leaves it to the host.
    """

    beta: float | None = Field(default=None, gt=0, le=2)


class TogetherPreferenceTraining(TogetherTraining):
    """What Together takes for preferences (DPO).

    Attributes:
        beta: how strongly the model is held to what it was.
        data: messages alone.
    """

    beta: float = Field(default=0.1, gt=0)
    data: Literal["chat"] = "chat"


class FireworksPreferenceTraining(FireworksTraining):
    """What Fireworks takes for preferences (DPO).

    Attributes:
        beta: how strongly the model is held to what it was.
    """

    beta: float = Field(default=0.1, gt=0, lt=0.5)


class LoraTraining(TrainingOptions):
    """What training of matrices beside the weights takes (LoRA, arXiv 2106.09685), wherever it is.

    Attributes:
        epochs: how often each row is trained on.
        batch_size: rows a step.
        seed: of what is drawn at random.
        learning_rate: at its peak.
        lora_rank: of the matrices that are trained.
    """

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=8, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    learning_rate: float = Field(default=2e-4, gt=0)
    lora_rank: int = Field(default=16, ge=1)


class LocalTraining(LoraTraining):
    """What training on this machine takes.

    Attributes:
        device: "cpu", or "auto" for the fastest that there is.
        data: "completion" for prompts and labels as the search shows them, "chat" for messages by the chat template.
    """

    device: Literal["auto", "cpu"] = "auto"
    data: Literal["chat", "completion"] = "completion"


class TinkerTraining(LoraTraining):
    """What training at Tinker takes; the learning rate is that of every step.

    Attributes:
        price: what Tinker charges per million tokens that are trained on; None if you do not know.
        currency: of the price.
    """

    price: float | None = Field(default=None, ge=0)
    currency: str = "USD"


class PocketTraining(TrainingOptions):
    """What training the embedded model takes; nothing is drawn at random.

    Attributes:
        epochs: how often each row is trained on: all of them make one step.
        learning_rate: of every step.
    """

    epochs: int = Field(default=200, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)


class LocalPreferenceTraining(LocalTraining):
    """What training on preferences on this machine takes (DPO, arXiv 2305.18290).

    Attributes:
        learning_rate: at its peak.
        beta: how strongly the model is held to what it was, above 0; the smaller, the further it may go.
        data: "chat" for messages by the chat template; "completion" for a model without one, whose reply follows the
            prompt after a space.
    """

    learning_rate: float = Field(default=5e-5, gt=0)
    beta: float = Field(default=0.1, gt=0)
    data: Literal["chat", "completion"] = "chat"


class LocalReinforcement(LocalTraining):
    """What training by a reward model on this machine takes (GRPO, arXiv 2402.03300).

    Attributes:
        reward: the reward model: the spec of a trained one, or the folder of a run of preferences.
        epochs: how often each prompt is replied to.
        batch_size: prompts a step.
        learning_rate: at its peak.
        generations: replies to a prompt, which are compared with each other.
        max_tokens: the most tokens of a reply.
        temperature: at which replies are written.
        beta: how strongly the model is held to what it was; 0 not at all.
        data: "chat" for messages by the chat template; "completion" for a model without one.
    """

    reward: str
    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    generations: int = Field(default=8, ge=2)
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    beta: float = Field(default=0.0, ge=0)
    data: Literal["chat", "completion"] = "chat"


class LocalRewardTraining(TrainingOptions):
    """What training a scoring network on this machine takes.

    Attributes:
        epochs: how often each pair is trained on.
        batch_size: pairs a step.
        seed: of what is drawn at random, the first weights of the head among it.
        learning_rate: at its peak.
        lora_rank: of the matrices that are trained beside the head.
        device: "cpu", or "auto" for the fastest that there is.
        margin: ask the better reply to score higher by the log-odds of its label, not by any difference.
    """

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=8, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    learning_rate: float = Field(default=1e-4, gt=0)
    lora_rank: int = Field(default=16, ge=1)
    device: Literal["auto", "cpu"] = "auto"
    margin: bool = True


class PocketRewardTraining(TrainingOptions):
    """What training a head on the embedded model takes; nothing is drawn at random.

    Attributes:
        epochs: the most steps of Newton's method.
        penalty: on the squared weights, in units of the features' spreads: as the pairs leave it open, the smaller.
        margin: ask the better reply to score higher by the log-odds of its label, not by any difference.
    """

    epochs: int = Field(default=50, ge=1)
    penalty: float = Field(default=0.01, gt=0)
    margin: bool = True


class PocketPreferenceTraining(PocketTraining):
    """What training the embedded model on preferences takes (DPO); nothing is drawn at random.

    Attributes:
        learning_rate: of every step; a large one makes both replies of a pair unlikely, and others likely.
        beta: how strongly the model is held to what it was, above 0; the smaller, the further it may go.
    """

    learning_rate: float = Field(default=0.02, gt=0)
    beta: float = Field(default=0.1, gt=0)
