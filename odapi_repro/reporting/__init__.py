"""What a person reads of a study: the plan, the progress, and results/<study>/."""
