"""Three answers instead of one word: is it coherent, what names the labels, and has a person checked them?

What a run prints first, its summary, its report and its data card all say the same three, in the same order. Without
a check that passed, nothing is said that is better than "coherent, unchecked"; "salient" is said only after one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from icm_api.evaluation.checked import FEWEST_ANSWERS, FEWEST_RIGHT

UNCHECKED = "unchecked"
_EARLIER = {"salient": "coherent", "not salient": "not coherent"}
"""Words for coherence in summaries of earlier versions."""
_NOBODY = "nobody has checked yet whether the labels are right"
_UNUSABLE = ("not coherent", "collapsed")
_MEANS = {
    "coherent": "the labels follow one pattern that the model sees in the texts",
    "unsure": "something speaks against these labels; the line that begins with coherent? says what",
    "not coherent": "the model sees no pattern in the texts that these labels follow",
    "collapsed": "nearly all texts got the same label, although the model sees a pattern in them",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the three.

    Attributes:
        question: as a person would ask it.
        answer: in a word or two.
        says: why, in a sentence; empty if nothing is known.
    """

    question: str
    answer: str
    says: str = ""

    def line(self) -> str:
        """For people."""
        return f"{self.question} {self.answer}{f': {self.says}' if self.says else ''}"


def answers_of(about: Mapping[str, Any]) -> tuple[Answer, ...]:
    """The three answers of a run; none if its labels were not judged and not checked.

    Args:
        about: what a result says of itself: its diagnosis, and what a person's check says.
    """
    diagnosis, check = about.get("diagnosis"), about.get("check")
    checked = Answer(
        "checked by anyone?", *((UNCHECKED, _NOBODY) if check is None else (check["answer"], check["says"]))
    )
    if not isinstance(diagnosis, Mapping):
        return () if check is None else (checked,)
    reasons = diagnosis.get("reasons") or [""]
    coherent, named = coherence_in(diagnosis), diagnosis.get("named")
    naming = [Answer("named by what?", named["answer"], named["says"])] if isinstance(named, Mapping) else []
    if naming and coherent in _UNUSABLE:
        naming = [Answer("named by what?", "nothing to name", "names matter once there is a pattern to name")]
    return (Answer("coherent?", coherent, str(reasons[0])), *naming, checked)


def coherence_in(diagnosis: Mapping[str, Any]) -> str:
    """The answer to "coherent?" that a summary has, whichever version wrote it.

    Args:
        diagnosis: of the summary.
    """
    word = str(diagnosis.get("coherent") or diagnosis.get("verdict"))
    return _EARLIER.get(word, word)


def headline(coherent: str, named: str, checked: str = UNCHECKED) -> str:
    """The verdict in a few words.

    Args:
        coherent: the answer to "coherent?".
        named: the answer to "named by what?".
        checked: the answer to "checked by anyone?".

    Example:
        >>> headline("coherent", "by the prior, weakly"), headline("coherent", "unsettled")
        ('coherent, unchecked', 'coherent, names unsettled, unchecked')
        >>> headline("coherent", "unsettled", "checked"), headline("collapsed", "unsettled")
        ('salient: coherent and checked', 'collapsed, unchecked')
    """
    if (coherent, checked) == ("coherent", "checked"):
        return "salient: coherent and checked"
    unsettled = coherent == "coherent" and named == "unsettled"
    return ", ".join([coherent, *(["names unsettled"] if unsettled else []), checked])


def headline_of(about: Mapping[str, Any]) -> str | None:
    """The verdict in a few words, of a run.

    Args:
        about: as for `answers_of`.

    Returns:
        None if the labels were not judged.
    """
    diagnosis, check = about.get("diagnosis"), about.get("check")
    if not isinstance(diagnosis, Mapping) or "verdict" not in diagnosis:
        return None
    named = diagnosis.get("named")
    answer = str(named["answer"]) if isinstance(named, Mapping) else ""
    return headline(coherence_in(diagnosis), answer, UNCHECKED if check is None else str(check["answer"]))


def meaning_of(about: Mapping[str, Any]) -> str | None:
    """What the verdict means, for someone who knows no statistics.

    Args:
        about: as for `answers_of`.

    Returns:
        A sentence; None if the labels were not judged.
    """
    if headline_of(about) is None:
        return None
    diagnosis, check = about["diagnosis"], about.get("check")
    coherent, named = coherence_in(diagnosis), diagnosis.get("named") or {}
    means = str(diagnosis.get("means") or _MEANS.get(coherent, coherent))
    if check is not None:
        counted = f"{check['right']} of {check['drawn']} labels drawn at random right"
        done = {"checked": "", "check failed": "only "}.get(check["answer"])
        return f"{means}; " + ("too few are checked to say more" if done is None else f"a person found {done}{counted}")
    if coherent != "coherent":
        return means
    if named.get("answer") == "unsettled":
        return f"{means}, but nothing says which side of it has which name, or whether it is what you asked for"
    return f"{means}; only a person can say whether it is the one you asked for"


def next_steps(about: Mapping[str, Any], run: str) -> list[str]:
    """What to do next, for someone who knows no statistics; the first step first.

    Args:
        about: as for `answers_of`.
        run: the run folder, for commands to copy.
    """
    diagnosis, check = about.get("diagnosis"), about.get("check")
    if not isinstance(diagnosis, Mapping):
        return []
    coherent, named = coherence_in(diagnosis), diagnosis.get("named") or {}
    checked = None if check is None else check["answer"]
    if checked == "checked":
        return [str(check["advice"])] if check and check.get("advice") else []
    steps = ["don't use these labels"] if coherent in _UNUSABLE else []
    steps += [str(step).replace(" RUN ", f" {run} ") for step in diagnosis.get("advice") or ()]
    if coherent not in _UNUSABLE and checked is None:
        if coherent == "coherent" and named.get("answer") == "unsettled":
            return [
                *steps,
                f"say which label is which: icm-api queue {run} --names --out names.csv, fill in the labels, and run "
                "again into another folder (--out) with that file under [data] fixed",
                "then check some labels of that run by hand, as it will tell",
            ]
        count = min(FEWEST_ANSWERS, _free(diagnosis) or FEWEST_ANSWERS)
        steps.append(
            f"check {count} labels by hand: icm-api queue {run} --random {count} --blind --out answers.csv, fill in "
            f"the labels, then icm-api check {run} answers.csv; use the labels if at least "
            f"{ceil(FEWEST_RIGHT * count)} of the {count} are right"
        )
    if check is not None and check.get("advice"):
        steps.append(str(check["advice"]))
    return steps


def _free(diagnosis: Mapping[str, Any]) -> int:
    """How many labels no person gave; 0 if a summary does not say."""
    measures = diagnosis.get("measures") or {}
    given = int((measures.get("second_opinion") or {}).get("given_labels", 0))
    return max(0, sum(map(int, (measures.get("counts") or {}).values())) - given)


def short_lines(about: Mapping[str, Any], run: str) -> Iterator[str]:
    """A run's verdict for people in a few lines: the headline, what it means, what to do next, the three answers.

    Args:
        about: as for `answers_of`.
        run: the run folder, for commands to copy.
    """
    found = headline_of(about)
    if found is not None:
        yield f"verdict: {found}"
        yield f"  what it means: {meaning_of(about)}"
        yield from (f"  what to do next: {step}" for step in next_steps(about, run))
    yield from (f"  {answer.line()}" for answer in answers_of(about))


def lines_of(about: Mapping[str, Any], run: str) -> Iterator[str]:
    """A run's verdict for people: `short_lines`, both readings of names that nothing settles, then all other reasons.

    Args:
        about: as for `answers_of`.
        run: the run folder, for commands to copy.
    """
    yield from short_lines(about, run)
    diagnosis = about.get("diagnosis")
    if isinstance(diagnosis, Mapping):
        yield from reading_lines(diagnosis)
        yield from (f"  - {reason}" for reason in list(diagnosis.get("reasons") or ())[1:])


def reading_lines(diagnosis: Mapping[str, Any]) -> Sequence[str]:
    """Both readings of unsettled names, side by side; none of labels that should not be used.

    Args:
        diagnosis: of a summary.
    """
    named = None if coherence_in(diagnosis) in _UNUSABLE else diagnosis.get("named")
    readings = named.get("readings") if isinstance(named, Mapping) else None
    return [
        f"    as found: {each['found']}; with the names exchanged: {each['exchanged']}; {each['id']}: {each['text']}"
        for each in readings or ()
    ]
