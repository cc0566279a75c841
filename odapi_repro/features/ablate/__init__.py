"""`run --ablate`: what a factor does, all else held."""
