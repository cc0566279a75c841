"""Checkpoint to detections to COCO metrics and what they say; only `inference` needs TensorFlow."""
