"""Labels leave the house: files for fine-tuning, preference training, reward models, tables and data sets.

`export_labels` writes `LabelledData` in one of `FORMAT_NAMES`. What a row becomes is in `records` and `tables`, what
each consumer documents in `hosts`. Nothing here opens a run, asks a model or knows a gold label.
"""

from icm_api.export.exporting import Exported, export_labels
from icm_api.export.formats import FORMAT_NAMES, FORMATS, Format, FormatName
from icm_api.export.options import Options
from icm_api.export.rows import ExportRow, LabelledData

__all__ = [
    "FORMATS",
    "FORMAT_NAMES",
    "ExportRow",
    "Exported",
    "Format",
    "FormatName",
    "LabelledData",
    "Options",
    "export_labels",
]
