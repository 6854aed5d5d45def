"""Held against baselines: what the labels that a search found are worth as demonstrations."""

from icm_api.compare.baselines import Bar, HeldOut, baseline_panel, few_shot, gap_recovered

__all__ = ["Bar", "HeldOut", "baseline_panel", "few_shot", "gap_recovered"]
