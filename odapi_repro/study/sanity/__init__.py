"""Sanity training before anything runs: the checks, their trainings, and what they would say."""
