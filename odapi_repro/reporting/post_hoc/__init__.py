"""What `run --checkpoint` says of factors that need no training: plan and folder of results."""
