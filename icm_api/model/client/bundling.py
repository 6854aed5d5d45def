"""Which questions go as one batch job: those of one endpoint, as many as its host takes and as can be read at once.

It does not: wait for more questions, or send any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from secrets import token_hex
from time import time

from icm_api.model.job import Bundle, JobHost
from icm_api.model.request import Request

# Bytes that the answers of one job may have, to be read at once; about what an answer has besides its tokens, a token
# has with its alternatives, of which readers look at the first few tokens alone, and a token has without.
_MOST_ANSWERS = 48 * 2**20
_ANSWER, _LISTED, _FIRST_TOKENS, _WORD = 1000, 2000, 10, 20


def bundled(requests: Mapping[str, Request], host: JobHost, most: int) -> Iterator[tuple[Bundle, Sequence[str]]]:
    """Jobs of one endpoint each, within the host's limits.

    Args:
        requests: by their keys, in the order in which they are put together.
        host: says how many bytes a job may have, and writes its lines.
        most: questions of a job.

    Yields:
        What goes as one job, and the keys of its questions in their order.
    """
    for endpoint in dict.fromkeys(request.endpoint for request in requests.values()):
        chosen: list[str] = []
        size = answers = 0
        for key, request in requests.items():
            if request.endpoint != endpoint:
                continue
            more, answer = len(host.line(token_hex(16), request)) + 1, _answer_bytes(request)
            full = size + more > host.most_bytes or answers + answer > _MOST_ANSWERS
            if chosen and (full or len(chosen) >= most):
                yield Bundle(token_hex(8), endpoint, len(chosen), time()), chosen
                chosen, size, answers = [], 0, 0
            chosen.append(key)
            size, answers = size + more, answers + answer
        yield Bundle(token_hex(8), endpoint, len(chosen), time()), chosen


def _answer_bytes(request: Request) -> int:
    """About how large an answer can be."""
    tokens = request.completion_tokens
    return _ANSWER + _LISTED * min(tokens, _FIRST_TOKENS) + _WORD * tokens
