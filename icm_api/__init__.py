"""Internal Coherence Maximization: labels for data that has none, from what a language model finds coherent.

The public face of the library. Everything it offers is in `__all__`, and is imported when it is first asked for: to
import the library loads none of it, and no SDK.

Example:
    >>> import icm_api as icm
    >>> data = icm.Dataset([icm.Example("a", {"text": "12>34"}), icm.Example("b", {"text": "34>12"})])
    >>> len(data)
    2
"""

from typing import TYPE_CHECKING

from icm_api._lazy import lazy

if TYPE_CHECKING:
    from icm_api.cli.live import LiveView
    from icm_api.config import Budget, ClientSettings, Config, DiagnosticsSettings, Prices, SearchSettings, load_config
    from icm_api.consistency import (
        Audit,
        Relations,
        asymmetric,
        audit,
        compile_relations,
        equivalent,
        exactly_one,
        implies,
        mutually_exclusive,
        transitive,
    )
    from icm_api.data import DataSource, Gold, load_examples, load_gold, load_gold_labels, load_jsonl
    from icm_api.errors import (
        BudgetError,
        CapabilityError,
        ConfigError,
        DataError,
        IcmError,
        LogprobsUnavailableError,
        PromptError,
        ProviderError,
        RequestError,
        RunError,
        StorageError,
    )
    from icm_api.evaluation import (
        Diagnosis,
        Evaluation,
        Judged,
        Verdict,
        accuracy,
        auroc,
        balanced_accuracy,
        diagnose,
        evaluate,
        expected_calibration_error,
        queue_of,
    )
    from icm_api.model import LanguageModel, Meter, open_model
    from icm_api.model.client.cache import ResponseCache
    from icm_api.model.reading.reading import Below, Reading
    from icm_api.model.request import Endpoint, Request, Response
    from icm_api.objective import LeaveOneOut, Objective
    from icm_api.prompts import PromptBuilder
    from icm_api.result import LabelledExample, Result
    from icm_api.reward import RewardModel, open_reward_model
    from icm_api.runs import Plan, Watch, plan, resume, run, run_config, run_sync
    from icm_api.search import Info, Progress, State, build_objective, consistency_fix, search_labels
    from icm_api.types import (
        Answers,
        Capabilities,
        Constraint,
        Dataset,
        Example,
        Label,
        LabelDistribution,
        Labeling,
        Model,
        Prompt,
        PromptTemplate,
        Relation,
        Score,
        Tally,
        Task,
        Turn,
        Usage,
        Verbalizer,
    )
else:
    _HOMES = {
        "icm_api.cli.live": "LiveView",
        "icm_api.config": "Budget ClientSettings Config DiagnosticsSettings Prices SearchSettings load_config",
        "icm_api.consistency": """
            Audit Relations asymmetric audit compile_relations equivalent exactly_one implies
            mutually_exclusive transitive
        """,
        "icm_api.data": "DataSource Gold load_examples load_gold load_gold_labels load_jsonl",
        "icm_api.errors": """
            BudgetError CapabilityError ConfigError DataError IcmError LogprobsUnavailableError
            PromptError ProviderError RequestError RunError StorageError
        """,
        "icm_api.evaluation": """
            Diagnosis Evaluation Judged Verdict accuracy auroc balanced_accuracy diagnose evaluate
            expected_calibration_error queue_of
        """,
        "icm_api.model": "LanguageModel Meter open_model",
        "icm_api.model.client.cache": "ResponseCache",
        "icm_api.model.reading.reading": "Below Reading",
        "icm_api.model.request": "Endpoint Request Response",
        "icm_api.objective": "LeaveOneOut Objective",
        "icm_api.prompts": "PromptBuilder",
        "icm_api.result": "LabelledExample Result",
        "icm_api.reward": "RewardModel open_reward_model",
        "icm_api.runs": "Plan Watch plan resume run run_config run_sync",
        "icm_api.search": "Info Progress State build_objective consistency_fix search_labels",
        "icm_api.types": """
            Answers Capabilities Constraint Dataset Example Label LabelDistribution Labeling Model Prompt
            PromptTemplate Relation Score Tally Task Turn Usage Verbalizer
        """,
    }
    __getattr__, __dir__ = lazy(__name__, _HOMES)

__all__ = [
    "Answers",
    "Audit",
    "Below",
    "Budget",
    "BudgetError",
    "Capabilities",
    "CapabilityError",
    "ClientSettings",
    "Config",
    "ConfigError",
    "Constraint",
    "DataError",
    "DataSource",
    "Dataset",
    "Diagnosis",
    "DiagnosticsSettings",
    "Endpoint",
    "Evaluation",
    "Example",
    "Gold",
    "IcmError",
    "Info",
    "Judged",
    "Label",
    "LabelDistribution",
    "Labeling",
    "LabelledExample",
    "LanguageModel",
    "LeaveOneOut",
    "LiveView",
    "LogprobsUnavailableError",
    "Meter",
    "Model",
    "Objective",
    "Plan",
    "Prices",
    "Progress",
    "Prompt",
    "PromptBuilder",
    "PromptError",
    "PromptTemplate",
    "ProviderError",
    "Reading",
    "Relation",
    "Relations",
    "Request",
    "RequestError",
    "Response",
    "ResponseCache",
    "Result",
    "RewardModel",
    "RunError",
    "Score",
    "SearchSettings",
    "State",
    "StorageError",
    "Tally",
    "Task",
    "Turn",
    "Usage",
    "Verbalizer",
    "Verdict",
    "Watch",
    "accuracy",
    "asymmetric",
    "audit",
    "auroc",
    "balanced_accuracy",
    "build_objective",
    "compile_relations",
    "consistency_fix",
    "diagnose",
    "equivalent",
    "evaluate",
    "exactly_one",
    "expected_calibration_error",
    "implies",
    "load_config",
    "load_examples",
    "load_gold",
    "load_gold_labels",
    "load_jsonl",
    "mutually_exclusive",
    "open_model",
    "open_reward_model",
    "plan",
    "queue_of",
    "resume",
    "run",
    "run_config",
    "run_sync",
    "search_labels",
    "transitive",
]
