"""Reward models without human labels: which of two replies is better, by a finished run's labelled comparisons.

`open_reward_model` opens one from a run folder, or by the spec of one that was trained on a run's labels. It compares
two replies (`prefer`), orders many (`rank`), picks the best of several that a model writes (`best_of`), and is measured
in the format of RewardBench 2 (`run_benchmark`). Nothing here trains a model: that is `icm_api.training`.
"""

from icm_api.reward.benchmark import Benchmark, Item, read_benchmark, run_benchmark, score_benchmark
from icm_api.reward.best_of import BestOf, best_line, best_of, preference_data, rank_written, read_best
from icm_api.reward.bradley_terry import bradley_terry
from icm_api.reward.comparing import Biases, Comparison, Preference, Ranking, Ranks, Refused, biases
from icm_api.reward.judge import RewardModel
from icm_api.reward.opening import is_trained, open_reward_model, open_trained
from icm_api.reward.scored import ScoredReward

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
    "ScoredReward",
    "best_line",
    "best_of",
    "biases",
    "bradley_terry",
    "is_trained",
    "open_reward_model",
    "open_trained",
    "preference_data",
    "rank_written",
    "read_benchmark",
    "read_best",
    "run_benchmark",
    "score_benchmark",
]
