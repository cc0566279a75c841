"""`evaluate`: what a checkpoint or a results file scores, and where the points went."""
