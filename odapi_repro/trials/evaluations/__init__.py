"""Evaluations of a checkpoint: what decides one, how it is run, and where it is kept."""
