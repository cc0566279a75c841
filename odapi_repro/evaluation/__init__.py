"""Checkpoint to detections to COCO metrics; only `detection` needs TensorFlow."""
