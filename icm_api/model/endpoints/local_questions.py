"""What a request to a model on this machine asks: surface forms after a text or at places inside it, or a text.

The body of a request is `{"prompt": text, "forms": [form, ...]}`, and that of its answer `{"logprobs": {form: log p}}`.
With `"answers": [place, ...]` the forms are read at each of these places, given all before it, and the answer lists a
mapping for each. The last place is the end of the text: an answer that is written there has no influence.

`{"prompt": text, "max_tokens": n, "temperature": t}` asks for a continuation, or with `"chat": true` for a reply; the
body of the answer is `{"text": text}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from icm_api.model.request import Body, Request


@dataclass(frozen=True, slots=True)
class Asked:
    """The texts before forms that one request asks about.

    Attributes:
        pieces: of the text. The forms are read at the end of each.
        forms: the surface forms.
        inside: places inside a text were asked for.
    """

    pieces: tuple[str, ...]
    forms: tuple[str, ...]
    inside: bool

    @classmethod
    def of(cls, body: Body) -> Asked:
        """What a request's body asks.

        Args:
            body: as above.

        Example:
            >>> Asked.of({"prompt": "1+1=2 True, 1+1=3", "answers": [5, 17], "forms": [" True", " False"]}).pieces
            ('1+1=2', ' True, 1+1=3')
        """
        text, ends = body["prompt"], body.get("answers")
        places = [len(text)] if ends is None else ends
        pieces = tuple(text[start:end] for start, end in zip([0, *places], places, strict=False))
        return cls(pieces, tuple(body["forms"]), ends is not None)

    @property
    def texts(self) -> list[str]:
        """What stands before the forms, for each place."""
        return ["".join(self.pieces[: at + 1]) for at in range(len(self.pieces))]

    def answer(self, found: Sequence[Mapping[str, float]]) -> Body:
        """The body of the answer.

        Args:
            found: per place, log p of each form.
        """
        return {"logprobs": list(found) if self.inside else found[0]}


def is_writing(body: Body) -> bool:
    """Whether a text is asked for."""
    return "max_tokens" in body


def seed_of(request: Request) -> int:
    """The seed of a text: another one for each body, and for each of several samples.

    Args:
        request: that asks for the text.
    """
    shaped = json.dumps([request.body, request.sample], sort_keys=True)
    return int.from_bytes(sha256(shaped.encode()).digest()[:8], "big") >> 1
