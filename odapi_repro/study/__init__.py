"""Designs, trials and their identity, scales, plans and their price."""
