"""The network's side of an evaluation, in the child process: images in, detections on disk."""
