"""Checkpoint to detections to COCO metrics; `detection` needs TensorFlow, `coco_metrics` does not."""
