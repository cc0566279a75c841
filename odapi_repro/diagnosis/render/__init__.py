"""Renderers of a diagnosis: for a terminal, for programs, for an issue, for code scanning."""
