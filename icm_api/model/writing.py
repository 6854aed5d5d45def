"""Many texts to be answered by a model, each several times: one that is refused costs the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice

from icm_api.errors import IcmError, RequestError
from icm_api.model.language_model import LanguageModel
from icm_api.model.reading.reading import Sampling


async def write_each(
    model: LanguageModel,
    texts: Sequence[str],
    sampling: Sampling,
    *,
    workers: int,
    on_answer: Callable[[], object] = lambda: None,
) -> tuple[list[Sequence[str] | None], IcmError | None]:
    """The model's replies to each text, as far as it got.

    A refusal concerns one text alone. After any other error no new text is begun, and those under way end by
    themselves, so that what they cost is not lost. The first text is asked about before all others.

    Args:
        model: that writes.
        texts: what is continued or replied to.
        sampling: how many replies to each, and of what kind.
        workers: texts under way at once.
        on_answer: called after each text.

    Returns:
        Replies to each text, None if all were refused or it was not asked about; and the error that ended it early.
    """
    found: list[Sequence[str] | None] = [None] * len(texts)
    failures: list[IcmError] = []
    waiting = iter(enumerate(texts))

    async def work(most: int) -> None:
        for at, text in islice(waiting, most):
            try:
                [found[at]] = await model.generate([text], **asdict(sampling))
            except IcmError as error:
                refused = isinstance(error, RequestError) and error.kind == "refused"
                # A text after the first may be bad by itself, e.g. too long.
                if not refused and not (at and isinstance(error, RequestError) and error.of_one):
                    failures.append(error)
            if failures:
                return
            on_answer()

    # What is wrong with all of them shows at the first.
    await work(1)
    if not failures:
        await asyncio.gather(*(work(len(texts)) for _ in range(min(workers, len(texts)))))
    return found, next(iter(failures), None)
