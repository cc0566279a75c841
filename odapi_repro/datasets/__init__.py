"""Data: TFRecords and their annotations, label maps, COCO json, the embedded shapes set, checks."""
