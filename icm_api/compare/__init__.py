"""What the labels that a search found are worth, compared with those of other methods.

`baseline_panel` has the four bars of one search; `panel` runs every method over several seeds. Gold labels are loaded
here, after the searches, and never handed to one.
"""

from icm_api.compare.bars import Bar, WithGold, baseline_panel, recovered_of_bars
from icm_api.compare.comparison import (
    HELD_OUT,
    LABELS,
    Compared,
    ComparedBar,
    Comparison,
    Cost,
    Difference,
    Part,
    Point,
    Row,
    read_comparison,
)
from icm_api.compare.figures import write_figures
from icm_api.compare.panel import PanelPlan, PanelWatch, measure_all, plan_panel, search_all
from icm_api.compare.split import Split, gold_of_splits, load_splits

__all__ = [
    "HELD_OUT",
    "LABELS",
    "Bar",
    "Compared",
    "ComparedBar",
    "Comparison",
    "Cost",
    "Difference",
    "PanelPlan",
    "PanelWatch",
    "Part",
    "Point",
    "Row",
    "Split",
    "WithGold",
    "baseline_panel",
    "gold_of_splits",
    "load_splits",
    "measure_all",
    "plan_panel",
    "read_comparison",
    "recovered_of_bars",
    "search_all",
    "write_figures",
]
