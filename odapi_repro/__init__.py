"""Why does my TensorFlow Object Detection API training not reach the reported mAP?"""

__version__ = "0.1.0"
