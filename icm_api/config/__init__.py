"""The configuration of a run: what a TOML file, the environment and flags may say, checked at once.

Precedence: flags > environment (`ICM_SEARCH__STEPS=200`) > file > defaults. An unknown key is an error that
names the nearest valid one. API keys have no place here: they come from the environment alone.
Nothing is opened or computed here.
"""

from typing import TYPE_CHECKING

from icm_api._lazy import lazy

if TYPE_CHECKING:
    from icm_api.config.batches import BatchesSection
    from icm_api.config.constraints import Constraints, ConstraintSection
    from icm_api.config.core import MOST_SEARCHED, CoreSection
    from icm_api.config.judging import CompareSettings, DiagnosticsSettings
    from icm_api.config.load import ENVIRONMENT_PREFIX, Config, load_config
    from icm_api.config.presets import PRESETS, MethodName, Preset, RowName
    from icm_api.config.sections import (
        TOLERATE,
        Budget,
        CacheSection,
        ClientSettings,
        DataSection,
        ModelSection,
        Prices,
        PriceTier,
        PromptSection,
        RunSection,
        SearchSettings,
        Section,
    )
else:
    _HOMES = {
        "icm_api.config.batches": "BatchesSection",
        "icm_api.config.constraints": "Constraints ConstraintSection",
        "icm_api.config.core": "CoreSection MOST_SEARCHED",
        "icm_api.config.judging": "CompareSettings DiagnosticsSettings",
        "icm_api.config.load": "ENVIRONMENT_PREFIX Config load_config",
        "icm_api.config.presets": "PRESETS MethodName Preset RowName",
        "icm_api.config.sections": """
            Budget CacheSection ClientSettings DataSection ModelSection Prices PriceTier PromptSection
            RunSection SearchSettings Section TOLERATE
        """,
    }
    __getattr__, __dir__ = lazy(__name__, _HOMES)

__all__ = [
    "ENVIRONMENT_PREFIX",
    "MOST_SEARCHED",
    "PRESETS",
    "TOLERATE",
    "BatchesSection",
    "Budget",
    "CacheSection",
    "ClientSettings",
    "CompareSettings",
    "Config",
    "ConstraintSection",
    "Constraints",
    "CoreSection",
    "DataSection",
    "DiagnosticsSettings",
    "MethodName",
    "ModelSection",
    "Preset",
    "PriceTier",
    "Prices",
    "PromptSection",
    "RowName",
    "RunSection",
    "Section",
    "SearchSettings",
    "load_config",
]
