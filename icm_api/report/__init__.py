"""A finished run as one HTML page that needs nothing beside itself, and its figures as PNG.

It reads what the run left on disk, and asks no model. Needs the extra `report` (Matplotlib, Jinja2), which is
imported only when a report is written.
"""

from icm_api.report.index import write_index
from icm_api.report.reading import Report, read_report
from icm_api.report.writing import Written, write_report

__all__ = ["Report", "Written", "read_report", "write_index", "write_report"]
