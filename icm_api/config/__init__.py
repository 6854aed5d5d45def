"""The configuration of a run: what a TOML file, the environment and flags may say, checked at once.

Precedence: flags > environment (`ICM_SEARCH__STEPS=200`) > file > defaults. An unknown key is an error that
names the nearest valid one. API keys have no place here: they come from the environment alone.
Nothing is opened or computed here. The tables are in files by what they are about: task, search, model, costs, run,
large, constraints, judging; `load` reads them all.
"""

from typing import TYPE_CHECKING

from icm_api._lazy import lazy

if TYPE_CHECKING:
    from icm_api.config.constraints import Constraints, ConstraintSection
    from icm_api.config.costs import Budget, Prices, PriceTier
    from icm_api.config.judging import CompareSettings, DiagnosticsSettings
    from icm_api.config.large import MOST_SEARCHED, BatchesSection, CoreSection
    from icm_api.config.load import ENVIRONMENT_PREFIX, Config, load_config
    from icm_api.config.model import CacheSection, ClientSettings, ModelSection
    from icm_api.config.presets import PRESETS, MethodName, Preset, RowName
    from icm_api.config.run import TOLERATE, RunSection
    from icm_api.config.search import SearchSettings
    from icm_api.config.section import Section
    from icm_api.config.task import DataSection, PromptSection
else:
    _HOMES = {
        "icm_api.config.constraints": "ConstraintSection Constraints",
        "icm_api.config.costs": "Budget PriceTier Prices",
        "icm_api.config.judging": "CompareSettings DiagnosticsSettings",
        "icm_api.config.large": "BatchesSection CoreSection MOST_SEARCHED",
        "icm_api.config.load": "Config load_config ENVIRONMENT_PREFIX",
        "icm_api.config.model": "CacheSection ClientSettings ModelSection",
        "icm_api.config.presets": "MethodName Preset RowName PRESETS",
        "icm_api.config.run": "RunSection TOLERATE",
        "icm_api.config.search": "SearchSettings",
        "icm_api.config.section": "Section",
        "icm_api.config.task": "DataSection PromptSection",
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
