"""Around a provider: the client that asks each question once, and what it does that by, one concern a file.

Cache on disk, dispatch of concurrent requests, adaptive concurrency, retries, limits, meter and budget, opening.

It does: make any provider a `LabelScorer`. It does not: know a wire format or what a labeling is.
"""

from icm_api.client.cache import ResponseCache
from icm_api.client.client import Client
from icm_api.client.entries import cache_key
from icm_api.client.ledger import note_session, sent_before
from icm_api.client.meter import Meter
from icm_api.client.open import open_provider
from icm_api.client.probe import check_endpoint

__all__ = [
    "Client",
    "Meter",
    "ResponseCache",
    "cache_key",
    "check_endpoint",
    "note_session",
    "open_provider",
    "sent_before",
]
