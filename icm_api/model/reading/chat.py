"""A prompt as a conversation, for models that take nothing else.

It does: put the parts of a prompt into roles, and estimate tokens where no tokenizer is public.
It does not: know any API's own shape of a message.
"""

from __future__ import annotations

from dataclasses import replace

from icm_api.types import Prompt

# English has about 4 bytes a token with current tokenizers; numbers and other languages have less.
_BYTES_PER_TOKEN = 3
_TOKENS_PER_MESSAGE = 4


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
    """The prompt, with an instruction that names the labels where it has none.

    Example:
        >>> from icm_api.types import Verbalizer
        >>> instructed(Prompt("", (), "1+1=3", Verbalizer.plain(["True", "False"]))).instruction
        'Answer with exactly one of: True, False. Write nothing else.'
    """
    if prompt.instruction:
        return prompt
    names = ", ".join(prompt.verbalizer.written(label).strip() for label in prompt.verbalizer.labels)
    return replace(prompt, instruction=f"Answer with exactly one of: {names}. Write nothing else.")


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, rather too many than too few, the frame of its message included.

    Example:
        >>> estimated_tokens("The claim is true.")
        10
    """
    return _TOKENS_PER_MESSAGE + -(-len(text.encode()) // _BYTES_PER_TOKEN)
