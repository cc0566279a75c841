"""Diagnosis: what a config really does, how it deviates from its reference, what likely hurts."""
