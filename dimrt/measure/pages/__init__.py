"""What was measured, as a page: report.py for one measurement, compared.py for two."""
