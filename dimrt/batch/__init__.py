"""Editing folders of photos, on one machine or several."""

from dimrt.batch.entry import Entry, Problem
from dimrt.batch.job import Job
from dimrt.batch.runner import Report, run

__all__ = ["Entry", "Job", "Problem", "Report", "run"]
