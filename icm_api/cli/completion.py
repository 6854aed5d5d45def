"""The verb `completion`: a script that has the shell complete verbs, their flags and the values to choose from.

It is written from the parser itself, so that it knows what this version knows; files are completed as ever.
"""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence

from icm_api.cli.verbs import VERBS

_BASH = """\
# {source}
_icm_api() {{
    local verb=${{COMP_WORDS[1]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{verbs}"
    else
        case "$verb $before" in
{choices}
        *) case "$verb" in
{flags}
        esac ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _icm_api icm-api
"""
_SOURCES = {
    "bash": 'in ~/.bashrc: eval "$(icm-api completion bash)"',
    "zsh": 'in ~/.zshrc: eval "$(icm-api completion zsh)"',
    "fish": "icm-api completion fish > ~/.config/fish/completions/icm-api.fish",
}


def completion_verb(arguments: Namespace) -> None:
    """`icm-api completion SHELL`."""
    if arguments.shell == "fish":
        print("\n".join(_fish()))
        return
    if arguments.shell == "zsh":
        print("autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit")
    choices = [_case(f"{verb} {flag}", options) for verb, action in _actions() for flag, options in _choices(action)]
    flags = [_case(verb, _words(verb)) for verb in VERBS]
    print(
        _BASH.format(
            source=_SOURCES[arguments.shell],
            verbs=" ".join(VERBS),
            choices="\n".join(choices),
            flags="\n".join(flags),
        ),
        end="",
    )


def _fish() -> Iterator[str]:
    yield f"# {_SOURCES['fish']}"
    for name, verb in VERBS.items():
        yield f"complete -c icm-api -n __fish_use_subcommand -f -a {name} -d {_quoted(verb.summary)}"
    for name, action in _actions():
        seen = f"complete -c icm-api -n '__fish_seen_subcommand_from {name}'"
        for flag in action.option_strings:
            if flag.startswith("--"):
                values = f" -x -a {_quoted(' '.join(map(str, action.choices)))}" if action.choices else ""
                needs = " -r" if action.nargs != 0 and not values else ""
                yield f"{seen} -l {flag[2:]}{needs}{values} -d {_quoted(action.help or '')}"
        if action.choices and not action.option_strings:
            yield f"{seen} -f -a {_quoted(' '.join(map(str, action.choices)))}"


def _actions() -> Iterator[tuple[str, Action]]:
    """Every verb with each of its arguments."""
    for name, verb in VERBS.items():
        parser = ArgumentParser()
        verb.declare(parser)
        for action in parser._actions:
            yield name, action


def _choices(action: Action) -> Iterator[tuple[str, Sequence[str]]]:
    if action.choices:
        yield from ((flag, [str(each) for each in action.choices]) for flag in action.option_strings)


def _words(verb: str) -> list[str]:
    """The flags of a verb, and what its arguments may be if they are to be chosen."""
    words: list[str] = []
    for name, action in _actions():
        if name == verb:
            words += [flag for flag in action.option_strings if flag.startswith("--")]
            words += [] if action.option_strings else [str(each) for each in action.choices or ()]
    return words


def _case(pattern: str, words: Sequence[str]) -> str:
    return f'        "{pattern}") words="{" ".join(words)}" ;;'


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
