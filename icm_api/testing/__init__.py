"""A loopback API server for tests: the embedded model behind the wire formats of real providers.

It speaks OpenAI's, vLLM's, SGLang's, llama.cpp's, Fireworks', Anthropic's and Gemini's formats over real HTTP, counts
requests and prefix-cache tokens, and injects faults that a seed reproduces. It does not limit rates, check keys or
model names, stream, or listen on anything but 127.0.0.1.

    from icm_api.testing import Faults, serve

    with serve(dialect="vllm", faults=Faults(("429-seconds", "500"), rate=0.2)) as server:
        ...  # any client with base_url=server.url
        print(server.log)

`python -m icm_api.testing --port 8000` runs it as a process of its own. Both need the extra `icm-api[testing]`.
"""

from icm_api.testing.faults import CONTENT, ECHOES, HARMLESS, MISCOUNTS, RETRYABLE, UNRETRYABLE, WORDS_ALONE, Faults
from icm_api.testing.jobs import JobPlan
from icm_api.testing.server import Server, serve
from icm_api.testing.training_jobs import TrainingJobs
from icm_api.testing.wire import DIALECTS, Dialect, RecordedRequest, ServerLog

__all__ = [
    "CONTENT",
    "DIALECTS",
    "ECHOES",
    "HARMLESS",
    "MISCOUNTS",
    "RETRYABLE",
    "UNRETRYABLE",
    "WORDS_ALONE",
    "Dialect",
    "Faults",
    "JobPlan",
    "RecordedRequest",
    "Server",
    "ServerLog",
    "TrainingJobs",
    "serve",
]
