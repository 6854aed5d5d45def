"""Reward models without human labels: which of two replies is better, by a finished run's labelled comparisons.

`open_reward_model` opens one from a run folder. It compares two replies (`prefer`), orders many (`rank`), picks the
best of several that a model writes (`best_of`), and is measured in the format of RewardBench 2 (`run_benchmark`).
Nothing here trains a model.
"""

from icm_api.reward.benchmark import Benchmark, Item, read_benchmark, run_benchmark, score_benchmark
from icm_api.reward.best_of import BestOf, best_of, preference_data, rank_written
from icm_api.reward.bradley_terry import bradley_terry
from icm_api.reward.comparing import Biases, Comparison, Preference, Ranking, Ranks, Refused, biases
from icm_api.reward.judge import RewardModel
from icm_api.reward.opening import open_reward_model

__all__ = [
    "Benchmark",
    "BestOf",
    "Biases",
    "Comparison",
    "Item",
    "Preference",
    "Ranking",
    "Ranks",
    "Refused",
    "RewardModel",
    "best_of",
    "biases",
    "bradley_terry",
    "open_reward_model",
    "preference_data",
    "rank_written",
    "read_benchmark",
    "run_benchmark",
    "score_benchmark",
]
