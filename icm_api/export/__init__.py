"""Labels leave the house: files for fine-tuning, preference training, reward models, tables and data sets.

`export_labels` writes a finished run, or `LabelledData`, in one of `FORMAT_NAMES`. What a row becomes is in `records`
and `tables`, what each reader documents in `formats`. Nothing here asks a model or knows a gold label.
"""

from icm_api.export.exporting import Exported, export_labels
from icm_api.export.formats import FORMAT_NAMES, FORMATS, Format, FormatName
from icm_api.export.rows import ExportRow, LabelledData, Options

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
