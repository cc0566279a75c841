"""Runs the checks of sanity training, and keeps their record."""
