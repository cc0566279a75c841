"""Trials: what one is, what it is made from, how it is run, and what it leaves in its folder."""
