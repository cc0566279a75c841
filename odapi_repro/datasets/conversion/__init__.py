"""COCO json and images to sharded records: bounded memory, all cores, resumable, accounted for."""
