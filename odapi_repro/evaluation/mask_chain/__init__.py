"""Recall of a two-stage detector stage by stage, from proposals to masks."""
