"""Language models: reading label probabilities, above a client that asks each question once, above endpoints.

Start at `open_model`. The SDKs of providers, numpy and the cache's database are imported only when they are needed.
"""

from icm_api.model.checking import check_endpoint
from icm_api.model.client.client import Client
from icm_api.model.client.ledger import Ledger, Sent, note_session, read_sent, spent
from icm_api.model.client.meter import Meter
from icm_api.model.language_model import LanguageModel
from icm_api.model.open import Opened, open_endpoint, open_model
from icm_api.model.probe import probe
from icm_api.model.reading.reading import Below, Readers, Reading, label_distribution
from icm_api.model.request import Endpoint, Request, Response

__all__ = [
    "Below",
    "Client",
    "Endpoint",
    "LanguageModel",
    "Ledger",
    "Meter",
    "Opened",
    "Reading",
    "Readers",
    "Request",
    "Response",
    "Sent",
    "check_endpoint",
    "label_distribution",
    "note_session",
    "open_endpoint",
    "open_model",
    "probe",
    "read_sent",
    "spent",
]
