"""Where the points were lost: kinds of errors, recall by size and class, curves."""
