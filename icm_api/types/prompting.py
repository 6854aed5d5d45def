"""How an example is shown to a model: the words around it, how labels are written, and the prompt that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter

from icm_api.errors import ConfigError, PromptError
from icm_api.types.examples import Example, Label


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """The words around an example's texts.

    Attributes:
        template: text with fields such as `{question}`; a literal brace is written twice. The label follows
            it, with the space that belongs to the label: white space at the end is removed.
        instruction: what stands once, before everything else.
        separator: what stands after the instruction and after each demonstration.

    Raises:
        ConfigError: the template has no field, or one that is more than a name.

    Example:
        >>> template = PromptTemplate("{question}\\nIs {claim} right? ")
        >>> template.fields
        ('question', 'claim')
        >>> template.render(Example("a", {"question": "1+1?", "claim": "{2}"}))
        '1+1?\\nIs {2} right?'
    """

    template: str = "{text}"
    instruction: str = ""
    separator: str = "\n\n"

    def __post_init__(self) -> None:
        if not self.separator:
            raise ConfigError("the separator is empty, so labels would run into the next text; use e.g. '\\n\\n'")
        try:
            names = [(name, spec, convert) for _, name, spec, convert in Formatter().parse(self.template)]
        except ValueError as error:
            raise ConfigError(f"template {self.template!r}: {error}; write a literal brace twice") from None
        for name, spec, convert in names:
            if name is not None and (spec or convert or not name or name.isdigit() or set(name) & set(".[]")):
                raise ConfigError(
                    f"template {self.template!r}: field {name!r} is not a plain name such as {{text}}; write "
                    "the name alone, and a literal brace twice"
                )
        if not self.fields:
            raise ConfigError(f"template {self.template!r} shows nothing of the example; name a field, e.g. {{text}}")

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, each once, in order."""
        return tuple(dict.fromkeys(name for _, name, _, _ in Formatter().parse(self.template) if name))

    def render(self, example: Example) -> str:
        """The example in words, without white space at the end.

        A name that is no field is looked for among what else the example has: its group, its answer, a text or a
        number of its metadata.

        Raises:
            PromptError: the example lacks a field, or gives an empty text.
        """
        text = self.template.format_map({name: _shown(example, name) for name in self.fields}).rstrip()
        if not text:
            raise PromptError(f"example {example.id!r} gives an empty text; fill its fields {list(self.fields)}")
        return text


def _shown(example: Example, name: str) -> str:
    if name in example.fields:
        return example.fields[name]
    rest = {"group": example.group, "answer": example.answer, **example.metadata}
    value = rest.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        known = [*example.fields, *(key for key, each in rest.items() if each is not None)]
        raise PromptError(
            f"example {example.id!r} has no field {name!r}, which the template shows; it has {known}: change the "
            "template, or give the example the field"
        )
    return str(value)


class Verbalizer:
    """How a model writes each label: label -> surface forms. The first form is the one demonstrations use.

    A form begins with the space that separates it from the prompt, since a prompt never ends in white space.

    Args:
        forms: per label, in a fixed order, one or more forms.

    Raises:
        ValueError: fewer than two labels, an empty form, or a form that begins another form (its
            probability would contain the other's).

    Example:
        >>> Verbalizer.plain(["True", "False"]).forms("True")
        (' True',)
    """

    __slots__ = ("_forms",)

    def __init__(self, forms: Mapping[Label, Sequence[str]]) -> None:
        self._forms = {label: tuple(dict.fromkeys(written)) for label, written in forms.items()}
        if len(self._forms) < 2:
            raise ValueError(f"a label set needs at least two labels, got {list(self._forms)}")
        for label, written in self._forms.items():
            if not written or not all(form.strip() for form in written):
                raise ValueError(f"label {label!r} has an empty surface form; give it some text")
        self._check_prefixes()

    def _check_prefixes(self) -> None:
        owners = [(form, label) for label, written in self._forms.items() for form in written]
        for form, label in owners:
            for longer, other in owners:
                if longer.startswith(form) and (longer, other) != (form, label):
                    raise ValueError(
                        f"form {form!r} of label {label!r} begins form {longer!r} of label {other!r}, so its "
                        "probability would contain the other's; use forms of which none begins another"
                    )

    @classmethod
    def plain(cls, labels: Iterable[Label]) -> Verbalizer:
        """Each label written as itself, after one space."""
        return cls({label: (f" {label}",) for label in labels})

    @property
    def labels(self) -> tuple[Label, ...]:
        """The label set, in its fixed order, which also decides ties."""
        return tuple(self._forms)

    def forms(self, label: Label) -> tuple[str, ...]:
        """The surface forms of a label. Raises KeyError for a label outside the set."""
        return self._forms[label]

    def written(self, label: Label) -> str:
        """The form that demonstrations use."""
        return self._forms[label][0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verbalizer) and list(self._forms.items()) == list(other._forms.items())

    def __hash__(self) -> int:
        return hash(tuple(self._forms.items()))

    def __repr__(self) -> str:
        return f"Verbalizer({self._forms!r})"


@dataclass(frozen=True, slots=True)
class Turn:
    """One demonstration: the example's text, and its label as written (with the space that belongs to it)."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question to the model: which label follows `query`, after these demonstrations?

    Kept in parts, so that a chat model can be given turns, and shared beginnings can be found without
    comparing characters. `text` is what a base model reads; it never ends in white space.
    """

    instruction: str
    turns: tuple[Turn, ...]
    query: str
    verbalizer: Verbalizer
    separator: str = "\n\n"
    _text: str | None = field(init=False, default=None, repr=False, compare=False)

    @property
    def segments(self) -> tuple[str, ...]:
        """The text in pieces that prompts with equal beginnings share: instruction, each turn, query."""
        head = (self.instruction + self.separator,) if self.instruction else ()
        turns = [turn.text + turn.answer + self.separator for turn in self.turns]
        return (*head, *turns, self.query)

    @property
    def text(self) -> str:
        """The whole prompt as plain text."""
        # Put together once: who writes, counts and names a request each want it.
        if self._text is None:
            object.__setattr__(self, "_text", "".join(self.segments))
        assert self._text is not None
        return self._text

    @property
    def shown(self) -> str:
        """The text before the query, which prompts with the same demonstrations have in common."""
        return self.text[: len(self.text) - len(self.query)]
