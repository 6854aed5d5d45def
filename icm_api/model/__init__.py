"""Language models: reading label probabilities, above a client that asks each question once, above endpoints."""

from icm_api.model.client.client import Client
from icm_api.model.client.ledger import note_session, sent_before
from icm_api.model.client.meter import Meter
from icm_api.model.open_client import open_provider
from icm_api.model.probe import check_endpoint

__all__ = ["Client", "Meter", "check_endpoint", "note_session", "open_provider", "sent_before"]
