"""`data show`: what the records hold, and what a model gets of them."""
