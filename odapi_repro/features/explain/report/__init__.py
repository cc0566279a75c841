"""What `explain` says of a gap: figures, tables and the folder of results."""
