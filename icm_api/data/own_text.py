"""What of a model's reply is the reply: thoughts are taken out, and further turns and problems cut off, by their marks.

Marks are those of the chat and instruct styles in use: tokens of chat templates, names of speakers, headings of
problems. Where a mark is doubtful, the text is cut: a lost answer costs less than one of another problem.
"""

# ruff: noqa: RUF001 - full-width marks are meant

from __future__ import annotations

import re

_TOKEN = (
    r"<[|｜][^<>|｜\n]{1,40}[|｜]>|</?(?:s|eos|bos|eot|eod)>|</?(?:start|end)_of_turn>|<\|?turn\|?>|\[/?INST\]"
    r"|<</?SYS>>"
)
"""A token with which a chat template marks turns."""
_THOUGHT = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad|inner_monologue|analysis)"
_MARKS = re.compile(
    rf"""
    (?P<open> <{_THOUGHT}> | \[THINK\] | ◁think▷ | <\|(?:begin_of_thought|START_THINKING)\|>
        | (?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<]*<\|message\|> | <\|channel>thought
        | <unused94>)
    | (?P<close> </{_THOUGHT}> | \[/THINK\] | ◁/think▷ | <\|(?:end_of_thought|END_THINKING)\|>
        | (?:<\|start\|>assistant)?<\|channel\|>final[^<]*<\|message\|> | <channel\|> | <unused95>)
    | (?P<turn> {_TOKEN})
    """,
    re.VERBOSE | re.IGNORECASE,
)
_OWN_HEAD = re.compile(
    rf"\s*(?:(?:{_TOKEN})[ \t]*(?:(?:assistant|model|chatbot)\b)?"
    r"|(?:\#+[ ]*|\*\*)?(?:GPT4[ ]Correct[ ])?(?:Assistant|Response)[*]*[:：][*]*)",
    re.IGNORECASE,
)
"""What marks the reply itself, at its beginning."""
_SPEAKER = r"(?:GPT4[ ]Correct[ ])?(?:Human|User|Assistant|System)"
_PROBLEM = (
    r"(?:Q|Question|Problem(?:[ ]Statement)?|Exercise|Instructions?|Prompt|Query|Puzzle"
    r"|Frage|Aufgabe|Pregunta|Problema|Problème|问题|题目|问|用户|問題|質問)"
)
_NUMBER = r"(?:[ ]?(?:\#|No\.?)?[ ]?(?:\d+|[IVX]+\b))"
_FURTHER = re.compile(
    rf"""
    {_TOKEN}
    | </?(?:user|human|assistant|system|question|problem|instruction)> | \[(?:user|human|assistant|question|problem)\]
    | (?:\n[ \t>]*[\[(*_\#-]*[ \t]*[*_]* | (?<=[.!?…。])[ \t]+)          # a line, or a sentence, that begins with
        (?:{_SPEAKER}{_NUMBER}?|Task|{_PROBLEM}{_NUMBER}?|Example{_NUMBER})[\])*_ ]*[:：]
    | \n[ \t]*\#+[ \t]*[*_]*(?:{_SPEAKER}|{_PROBLEM}|Task|Input|Response|Example){_NUMBER}?[*_ \t]*[:：]?(?=\s*(?:\n|$))
    | \n[ \t>]*[\[(*_\#]*[ \t]*(?:{_PROBLEM}|Example){_NUMBER}[\])*_]*[ \t]*(?:[.)\]-]|(?=\n|$))
    | \n[ \t>]*[*_\#]*[ \t]*(?:Here(?:'s|[ ]is)[ ])?(?:Next|New|Another|Follow-?up|Practice|Similar|Bonus|Second)[ ]
        (?:\w+[ ])?(?:question|problem|exercise|example)
    """,
    re.VERBOSE | re.IGNORECASE,
)


def without_thoughts(text: str) -> str:
    """A reply without what the model only thought, such as <think> blocks and channels of analysis.

    A block that never closes goes to the end; a mark that only closes ends a thought that began with the reply, as it
    does where a chat template has opened the block.

    Args:
        text: the reply as the model wrote it.

    Returns:
        The rest as it is, "" if all of it was thought.

    Example:
        >>> without_thoughts("<think>20? No.</think>It is 26."), without_thoughts("20? No.</think>It is 26.")
        ('It is 26.', 'It is 26.')
        >>> without_thoughts("It is 26. <think>Is it? I")
        'It is 26. '
    """
    kept: list[str] = []
    at = floor = 0
    inside = False
    for mark in _MARKS.finditer(text):
        if not inside:
            kept.append(text[at : mark.start()])
        if mark["turn"] and not inside:
            # A later turn can have thoughts too; they reach back no further than its beginning.
            kept.append(mark.group())
            floor = len(kept)
        elif mark["close"]:
            if not inside:
                del kept[floor:]
            inside = False
        elif mark["open"]:
            inside = True
        at = mark.end()
    return "".join([*kept, *([] if inside else [text[at:]])])


def own_part(text: str) -> str:
    """The reply alone, without the further turns and problems with which a model may go on.

    Args:
        text: the reply, without thoughts.

    Example:
        >>> own_part("1 + 1 = 2\\n#### 2\\n\\nQuestion: What is 2 + 2?\\n#### 4")
        '1 + 1 = 2\\n#### 2\\n'
        >>> own_part("<|assistant|>It is 26.<|end|>"), own_part("It is 26.\\nUser: And 3 + 4?")
        ('It is 26.', 'It is 26.')
    """
    begin = 0
    while head := _OWN_HEAD.match(text, begin):
        begin = head.end()
    text = text[begin:].lstrip() if begin else text
    for found in _FURTHER.finditer(text):
        if text[: found.start()].strip():
            return text[: found.start()]
    return text
