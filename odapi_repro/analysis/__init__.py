"""Effects and their uncertainty: pure functions on tables of trials."""
