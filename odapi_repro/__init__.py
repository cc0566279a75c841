"""Why does my TensorFlow Object Detection API training not reach the reported mAP?"""

import sys

__version__ = "0.1.0"

# `python -m odapi_repro.<command>` while the command is looked for; nobody else's exceptions are
# ours to print.
if sys.argv[:1] == ["-m"]:
    from odapi_repro.ending import guard_imports

    guard_imports("command")
