"""The embedded model: a small transformer that runs with numpy alone, and the made-up world it was trained on.

A real language model, with weights in the package, to try and to test everything else with. It knows nothing of the
world outside (`world` says what it knows), and imports nothing of the rest of the library.
"""

from icm_api.pocket.model import PocketModel
from icm_api.pocket.world import TASKS, Claim, make_claims, make_split

__all__ = ["TASKS", "Claim", "PocketModel", "make_claims", "make_split"]
