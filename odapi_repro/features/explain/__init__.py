"""`explain`: how the gap to a reference is shared among deviations."""
