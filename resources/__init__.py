"""Dagster resources: the outside world as the assets see it, each configured from the settings.

They open what `imgmine` provides; no stage's work is done here.
"""
