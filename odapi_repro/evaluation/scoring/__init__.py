"""COCO's metrics, and the matching of detections and ground truth that they count."""
