"""What sanity training found, for people: terminal, README.md, curves."""
