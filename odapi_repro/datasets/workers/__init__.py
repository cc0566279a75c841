"""Processes that share a long piece of work on records, and end with their parent."""
