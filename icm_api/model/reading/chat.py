"""A prompt as a conversation, for models that take nothing else.

It does: put the parts of a prompt into roles, and group the replies to several texts.
It does not: know any API's own shape of a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from icm_api.errors import ProviderError
from icm_api.model.request import Asks, Body, Request
from icm_api.types import Answers, Prompt

_LONE = re.compile("[\ud800-\udfff]")


def chat_messages(prompt: Prompt) -> list[dict[str, str]]:
    """The instruction as "system", then each demonstration as "user" and "assistant", then the query as "user".

    An answer stands without the space that separates it from a text.

    Example:
        >>> from icm_api.types import Turn, Verbalizer
        >>> prompt = Prompt("Judge.", (Turn("1+1=2", " True"),), "1+1=3", Verbalizer.plain(["True", "False"]))
        >>> [tuple(message.values()) for message in chat_messages(prompt)]
        [('system', 'Judge.'), ('user', '1+1=2'), ('assistant', 'True'), ('user', '1+1=3')]
    """
    messages = [{"role": "system", "content": prompt.instruction}] if prompt.instruction else []
    for turn in prompt.turns:
        messages.append({"role": "user", "content": turn.text})
        messages.append({"role": "assistant", "content": turn.answer.strip()})
    return [*messages, {"role": "user", "content": prompt.query}]


def instructed(prompt: Prompt) -> Prompt:
    """The prompt, with an instruction that names the labels if it has none.

    Example:
        >>> from icm_api.types import Verbalizer
        >>> instructed(Prompt("", (), "1+1=3", Verbalizer.plain(["True", "False"]))).instruction
        'Answer with exactly one of: True, False. Write nothing else.'
    """
    if prompt.instruction:
        return prompt
    names = ", ".join(prompt.verbalizer.written(label).strip() for label in prompt.verbalizer.labels)
    return replace(prompt, instruction=f"Answer with exactly one of: {names}. Write nothing else.")


async def replies(
    requests: Sequence[Request], client: Asks, text_of: Callable[[Body], str], samples: int
) -> Answers[Sequence[str]]:
    """What a model writes, `samples` replies to each text; fewer if some were refused or can't be used.

    Args:
        requests: one for each text.
        client: asks them.
        text_of: an answer's text.
        samples: replies to each text; a request for each.

    Raises:
        ProviderError: a request failed for a reason that is not its own, or all did.
    """
    wanted = [replace(request, sample=sample) for request in requests for sample in range(samples)]
    left = wanted
    while True:
        try:
            answers = await client.ask(left)
            break
        except ProviderError as error:
            failed = [each.request for each in error.unanswered]
            fewer = [request for request in left if request not in failed]
            if not fewer or len(fewer) == len(left):
                raise
            left = fewer
    written: list[list[str]] = [[] for _ in requests]
    places = {id(request): at // samples for at, request in enumerate(wanted)}
    # Half a surrogate pair can be written to no file.
    for request, body in zip(left, answers, strict=True):
        written[places[id(request)]].append(_LONE.sub("\ufffd", text_of(body)))
    return Answers(tuple(written), answers.costs)
