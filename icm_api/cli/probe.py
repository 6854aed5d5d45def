"""The verb `probe`: ask an endpoint a few small questions, and print what it really returns.

It prints the report on standard output (as JSON with --json). An endpoint that is of no use ends with exit code 2.
"""

from __future__ import annotations

import asyncio
import json
from argparse import ArgumentTypeError, Namespace
from typing import Any

from icm_api.cli.verbs import Verbs
from icm_api.errors import ConfigError, ProviderError
from icm_api.model.findings import Probe
from icm_api.model.open import open_endpoint
from icm_api.model.probe import probe
from icm_api.types import Verbalizer


def add_probe(verbs: Verbs) -> None:
    """Declare the verb and its flags."""
    summary = "ask a model endpoint a few questions, and print what it really returns"
    parser = verbs.add_parser("probe", help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(verb=probe_verb)
    parser.add_argument("spec", help='e.g. "openai:gpt-6-luna", "vllm:MODEL@http://127.0.0.1:8000/v1", "pocket"')
    parser.add_argument("--labels", default="True,False", help="with commas between; by default True,False")
    parser.add_argument(
        "--option",
        type=option_flag,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the provider, as under [model.options]; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")


def probe_verb(arguments: Namespace) -> None:
    """`icm-api probe SPEC`."""
    try:
        verbalizer = Verbalizer.plain(label.strip() for label in arguments.labels.split(","))
    except ValueError as error:
        raise ConfigError(f"--labels {arguments.labels}: {error}") from error
    found = asyncio.run(_probed(arguments.spec, dict(arguments.option), verbalizer))
    print(json.dumps(found.as_json()) if arguments.json else "\n".join(found.lines()))
    if found.trouble:
        raise ProviderError(found.trouble)


async def _probed(spec: str, options: dict[str, Any], verbalizer: Verbalizer) -> Probe:
    endpoint, readers = open_endpoint(spec, options)
    try:
        return await probe(endpoint, readers, verbalizer)
    finally:
        await endpoint.close()


def option_flag(text: str) -> tuple[str, Any]:
    """KEY=VALUE of a flag `--option`; the value is read as JSON where it is some, else as text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ArgumentTypeError(f"write it as KEY=VALUE, got {text!r}")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
