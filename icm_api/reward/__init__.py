"""Reward models without human labels: which of two replies is better, by a finished run's labelled comparisons."""
