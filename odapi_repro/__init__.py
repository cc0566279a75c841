"""Why does my TensorFlow Object Detection API training not reach the reported mAP?"""

import sys

__version__ = "0.1.0"

# `python -m odapi_repro.<command>` and the program odapi-repro while the command is looked for;
# nobody else's exceptions are ours to print.
if sys.argv[:1] == ["-m"] or (sys.argv[:1] and sys.argv[0].endswith("/odapi-repro")):
    from odapi_repro.ending import guard_imports

    _given = sys.orig_argv
    _module = _given[_given.index("-m") + 1 :][:1] if "-m" in _given else []
    _name = _module[0].rpartition(".")[2] if _module else ""
    guard_imports(_name if _name not in ("", __name__) else "command")
