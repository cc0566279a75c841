"""What `evaluate` says of a set of detections: folder of results, json and terminal."""
