"""Synthetic in-context learners whose knowledge, biases and noise are known, to try searches and judges on."""
