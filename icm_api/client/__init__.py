"""Around a provider: the cache on disk, the client that asks each question once, and opening both by name.

It does: make any provider a `LabelScorer`. It does not: know a wire format or what a labeling is.
"""

from icm_api.client.cache import ResponseCache, cache_key
from icm_api.client.client import Client
from icm_api.client.open import open_provider

__all__ = ["Client", "ResponseCache", "cache_key", "open_provider"]
