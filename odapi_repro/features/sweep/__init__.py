"""`run --ablate` with factors that need no training: one checkpoint, many settings."""
