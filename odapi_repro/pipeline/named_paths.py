"""The paths that a config names: which fields hold them, and what a path gives away by itself."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from odapi_repro.pipeline import Pipeline

# PATH_TO_BE_CONFIGURED of configs/tf2, its misspellings, and what tutorials write instead.
_PLACEHOLDER = re.compile(
    r"be[_ -]?configur|(?<![a-z])path[_ -]to[_ -]|(?<![a-z])path/to/|(?<![a-z])your[_ -]"
    r"|\$\{?[a-z_]+\}?|%[a-z_]{2,}%|<[^<>]*>|\{[a-z_ ]*\}|^\s*\.\.\.",
    re.IGNORECASE,
)
_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")
# TensorFlow has gs://, file:// and ram:// itself, and tensorflow_io brings s3:// and others.
_ONE_SLASH = re.compile(r"^(gs|s3|hdfs|file):/(?=[^/])")
_WEB = re.compile(r"^(?:https?|ftps?|sftp|ssh|scp|git)://", re.IGNORECASE)


def named_paths(pipeline: Pipeline) -> Mapping[str, str]:
    """Gives every set path under its dotted field, the training's own first.

    Of the eval readers only the first counts: model_lib_v2.eval_continuously opens no other.
    """
    proto = pipeline.proto
    paths = {"train_config.fine_tune_checkpoint": str(proto.train_config.fine_tune_checkpoint)}
    readers = [("train_input_reader", proto.train_input_reader)]
    readers += [("eval_input_reader[0]", reader) for reader in proto.eval_input_reader[:1]]
    for name, reader in readers:
        paths[f"{name}.label_map_path"] = str(reader.label_map_path)
        for index, pattern in enumerate(reader.tf_record_input_reader.input_path):
            paths[f"{name}.tf_record_input_reader.input_path[{index}]"] = str(pattern)
    if pipeline.meta_architecture == "center_net":
        paths["model.center_net.keypoint_label_map_path"] = str(
            proto.model.center_net.keypoint_label_map_path
        )
    return {field: path for field, path in paths.items() if path}


def input_patterns(pipeline: Pipeline, *, evaluation: bool = False) -> list[str]:
    """Gives the patterns of the training records, or of the first eval reader's."""
    proto = pipeline.proto
    if not evaluation:
        return [str(one) for one in proto.train_input_reader.tf_record_input_reader.input_path]
    readers = proto.eval_input_reader[:1]
    return [str(one) for reader in readers for one in reader.tf_record_input_reader.input_path]


def is_placeholder(path: str) -> bool:
    """Whether a path still is to be filled in; shell variables count, which nothing expands."""
    return bool(_PLACEHOLDER.search(path))


def is_upstreams_slip(path: str) -> bool:
    """Whether it is the misspelling in the OD API's own D7 config, which filling in passes by."""
    return "PATH_TO_BEE_CONFIGURED" in path


def is_foreign(path: str) -> bool:
    """Whether a path is a URL or written for Windows, while this is another system."""
    return "://" in path or (os.name != "nt" and (bool(_DRIVE.match(path)) or "\\" in path))


def folder_of(path: str, *, look: bool) -> str | None:
    """Gives the folder that a path names, when it is on this machine; None otherwise.

    None for a bare file name too: the folder it lies in is the one that training starts in, which
    may be any.
    """
    folder = os.path.dirname(path)
    if not look or not folder or is_foreign(path) or is_placeholder(path) or "\0" in path:
        return None
    return folder if os.path.isdir(folder) else None


def parts_of(path: str) -> list[str]:
    """Gives the names that a path is made of, written with / or with backslashes."""
    return [part for part in re.split(r"[/\\]+", path) if part]


def unopenable(path: str) -> tuple[str, str, str] | None:
    """Gives why TensorFlow opens nothing at a path, from its text alone; None where it may.

    The three are what is found, what is expected, and the mended path (empty where none is known).
    Tried with TensorFlow 2.20: nothing is expanded or stripped (NotFoundError, and no match of a
    pattern); UnimplementedError for the schemes of the web.
    """
    if path != (bare := path.strip(" ,;")):
        side = "ends in" if path != path.rstrip(" ,;") else "begins with"
        kept = path[-1] if side == "ends in" else path[0]
        what = {" ": "blank", ",": "comma"}.get(kept, "semicolon")
        return f"{path!r} {side} a {what}, which TensorFlow keeps", f"no {what} there", bare
    if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
        return f"{path} has quotes inside the string", "no quotes there", path.strip("'\"")
    if path.lower() in ("none", "null"):
        return f"'{path}' is a name like any other", "a path, or the field left out", ""
    if one_slash := _ONE_SLASH.match(path):
        whole = f"{one_slash[1]}://{path[one_slash.end() :]}"
        return f"{path} has one slash after {one_slash[1]}:", "two slashes there", whole
    if path.startswith("~"):
        whole = os.path.expanduser(path)
        found = f"{path} begins with ~, which TensorFlow does not expand"
        return found, "the whole path", "" if whole == path else whole
    if web := _WEB.match(path):
        found = f"{path} is an address of the web; TensorFlow itself has no {web.group()}"
        return found, "a path on this machine, or a bucket's (gs://, s3://)", ""
    return None
