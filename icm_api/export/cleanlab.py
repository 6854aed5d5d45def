"""What cleanlab asks for: labels as integers, and `pred_probs`, as arrays in one .npz file.

`labels` (n, int64) are positions in `classes`; `pred_probs` (n by K, float64) are p(label | x_i, all other labels),
which are out of sample, as cleanlab needs them: no label was in the context of its own prediction. `ids` name the
rows. Source: https://docs.cleanlab.ai/stable/tutorials/faq.html, "How do I format classification labels for cleanlab?".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from icm_api.errors import ConfigError
from icm_api.export.folder import synced
from icm_api.export.rows import LabelledData
from icm_api.export.units import Unit


def write_cleanlab(path: Path, data: LabelledData, units: Sequence[Unit]) -> tuple[str, ...]:
    """Write the arrays; returns the labels that no row has.

    Raises:
        ConfigError: a row has no probability for one of the labels.
    """
    classes = data.verbalizer.labels
    labels = np.empty(len(units), dtype=np.int64)
    probabilities = np.empty((len(units), len(classes)), dtype=np.float64)
    for at, unit in enumerate(units):
        row = data.row(unit.id)
        labels[at] = classes.index(row.label)
        if set(row.probabilities) != set(classes):
            raise ConfigError(f"example {row.id!r} has probabilities of {list(row.probabilities)}, not of every label")
        probabilities[at] = [row.probabilities[label] for label in classes]
    with synced(path) as stream:
        np.savez(
            stream,
            labels=labels,
            pred_probs=probabilities,
            classes=np.array(classes, dtype=np.str_),
            ids=np.array([unit.id for unit in units], dtype=np.str_),
        )
    return tuple(label for at, label in enumerate(classes) if at not in labels)
