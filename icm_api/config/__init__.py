"""The configuration of a run: what a TOML file, the environment and flags may say, checked at once.

Precedence: flags > environment (`ICM_SEARCH__STEPS=200`) > file > defaults. An unknown key is an error that
names the nearest valid one. API keys have no place here: they come from the environment alone.
Nothing is opened or computed here.
"""

from icm_api.config.constraints import Constraints, ConstraintSection
from icm_api.config.judging import CompareSettings, DiagnosticsSettings
from icm_api.config.load import ENVIRONMENT_PREFIX, Config, load_config
from icm_api.config.presets import PRESETS, MethodName, Preset
from icm_api.config.sections import (
    Budget,
    CacheSection,
    ClientSettings,
    DataSection,
    ModelSection,
    Prices,
    PromptSection,
    RunSection,
    SearchSettings,
    Section,
)

__all__ = [
    "ENVIRONMENT_PREFIX",
    "PRESETS",
    "Budget",
    "CacheSection",
    "ClientSettings",
    "CompareSettings",
    "Config",
    "ConstraintSection",
    "Constraints",
    "DataSection",
    "DiagnosticsSettings",
    "MethodName",
    "ModelSection",
    "Preset",
    "Prices",
    "PromptSection",
    "RunSection",
    "Section",
    "SearchSettings",
    "load_config",
]
