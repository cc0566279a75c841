"""Writes event files, checkpoints and training folders, byte by byte and by nobody's protobufs.

`test_against_tensorflow.py` holds that TensorFlow reads what is written here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import google_crc32c

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
MAGIC = 0xDB4775248B80FB57

# A tree of objects by name; a leaf is None.
Tree = Mapping[str, "Tree | None"]
# Learning rate and losses of a step: what the OD API logs after each block.
Report = tuple[int, float, Mapping[str, float]]


def masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | float | bytes, *, kind: str = "") -> bytes:
    """One field of a message: `double`, `float` and `fixed32` by `kind`, else by its type."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if kind == "double":
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if kind in ("float", "fixed32"):
        code = "<f" if kind == "float" else "<I"
        return varint(number << 3 | 5) + struct.pack(code, value)
    return varint(number << 3) + varint(int(value))


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return b"".join(
        [length, struct.pack("<I", masked(length)), data, struct.pack("<I", masked(data))]
    )


def event(
    step: int = 0, wall_time: float = 0.0, *, values: Sequence[bytes] = (), version: str = ""
) -> bytes:
    summary = b"".join(field(1, value) for value in values)
    return b"".join(
        [
            field(1, wall_time, kind="double"),
            field(2, step) if step else b"",
            field(3, version.encode()) if version else b"",
            field(5, summary) if values else b"",
        ]
    )


def float_tensor(value: float) -> bytes:
    """TF2's scalar: DT_FLOAT of rank 0, its bytes as tensor_content."""
    return field(1, 1) + field(2, b"") + field(4, struct.pack("<f", value))


def scalar(tag: str, value: float) -> bytes:
    plugin = field(1, field(1, b"scalars"))
    return field(1, tag.encode()) + field(8, float_tensor(value)) + field(9, plugin)


def simple_scalar(tag: str, value: float) -> bytes:
    return field(1, tag.encode()) + field(2, value, kind="float")


def image(tag: str, size: int) -> bytes:
    """An image as TF2 writes it: a tensor of texts."""
    tensor = field(1, 7) + field(2, field(2, field(1, 1))) + field(8, b"\x89PNG" + bytes(size))
    return field(1, tag.encode()) + field(8, tensor)


def tf1_image(tag: str, size: int) -> bytes:
    return field(1, tag.encode()) + field(4, field(1, 8) + field(4, bytes(size)))


def write_events(folder: Path, events: Iterable[bytes], *, started: int = 1_700_000_000) -> Path:
    """An event file as TF2's writer begins it and names it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{started}.host.1.0.v2"
    head = event(wall_time=float(started), version="brain.Event:2")
    path.write_bytes(b"".join(record(data) for data in (head, *events)))
    return path


def training_events(reports: Iterable[Report], *, started: int, speed: float = 2.0) -> list[bytes]:
    """The events of `train_loop`: speed, losses and rate, each in an event of its own."""
    events = []
    for step, rate, losses in reports:
        tags = {"steps_per_sec": speed, **{f"Loss/{n}": v for n, v in losses.items()}}
        tags["learning_rate"] = rate
        events += [event(step, started + step, values=[scalar(*one)]) for one in tags.items()]
    return events


def write_training(model_dir: Path, reports: Iterable[Report], *, started: int = 10**9) -> Path:
    return write_events(
        model_dir / "train", training_events(reports, started=started), started=started
    )


def falling(steps: Iterable[int], loss: float = 1.0) -> list[Report]:
    """Reports whose total loss is `loss` at step 0 and halves every thousand steps."""
    return [(step, 0.1, {"total_loss": loss * 0.5 ** (step / 1000)}) for step in steps]


def table(entries: Mapping[bytes, bytes], *, block: int = 3, compression: int = 0) -> bytes:
    """A LevelDB table; keys share prefixes within a block."""
    out = bytearray()

    def add(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
        content = bytearray()
        before = b""
        for key, value in pairs:
            shared = 0
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
            content += varint(shared) + varint(len(key) - shared) + varint(len(value))
            content += key[shared:] + value
            before = key
        content += struct.pack("<II", 0, 1)
        handle = varint(len(out)) + varint(len(content))
        trailer = bytes([compression])
        out.extend(content + trailer + struct.pack("<I", masked(bytes(content) + trailer)))
        return handle

    pairs = sorted(entries.items())
    parts = [pairs[at : at + block] for at in range(0, len(pairs), block)]
    index = [(part[-1][0], add(part)) for part in parts]
    footer = add([]) + add(index)
    return bytes(out) + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def object_graph(tree: Tree) -> bytes:
    """TrackableObjectGraph of a tree, the root first."""
    nodes: list[bytes] = []

    def add(node: Tree | None) -> int:
        place = len(nodes)
        nodes.append(b"")
        nodes[place] = b"".join(
            field(1, field(1, add(child)) + field(2, name.encode()))
            for name, child in (node or {}).items()
        )
        return place

    add(tree)
    return b"".join(field(1, node) for node in nodes)


def write_checkpoint(
    prefix: Path, variables: Mapping[str, int | float], *, tree: Tree | None = None
) -> None:
    """A checkpoint of scalars, int64 or float32, object-based where it has a tree."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data = bytearray()
    entries = {b"": field(1, 1) + field(3, field(1, 1))}

    def add(key: str, dtype: int, value: bytes, checksum: int) -> None:
        entries[key.encode()] = b"".join(
            [
                field(1, dtype),
                field(2, b""),
                field(4, len(data)),
                field(5, len(value)),
                field(6, checksum, kind="fixed32"),
            ]
        )
        data.extend(value)

    for key, value in variables.items():
        stored = struct.pack("<q" if isinstance(value, int) else "<f", value)
        add(key, 9 if isinstance(value, int) else 1, stored, masked(stored))
    if tree is not None:
        text = object_graph(tree)
        # The checksum covers lengths as fixed32, not as the varints that are stored
        # (tensor_bundle.cc: WriteStringTensor).
        lengths = struct.pack("<I", masked(struct.pack("<I", len(text))))
        checksum = masked(struct.pack("<I", len(text)) + lengths + text)
        add(GRAPH_KEY, 7, varint(len(text)) + lengths + text, checksum)
    Path(f"{prefix}.index").write_bytes(table(entries))
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)


TRAINING_TREE: Tree = {
    "model": {"_feature_extractor": {"conv": None}, "_box_predictor": {"head": None}},
    "optimizer": {"iter": None},
    "save_counter": None,
    "step": None,
}


def write_training_checkpoint(model_dir: Path, number: int, step: int) -> Path:
    """A checkpoint as `train_loop` saves it, and the file that names it."""
    prefix = model_dir / f"ckpt-{number}"
    variables: dict[str, int | float] = {
        f"model/_feature_extractor/conv{VALUE}": 0.5,
        f"model/_box_predictor/head{VALUE}": 0.25,
        f"step{VALUE}": step,
        f"save_counter{VALUE}": number,
    }
    write_checkpoint(prefix, variables, tree=TRAINING_TREE)
    (model_dir / "checkpoint").write_text(
        f'model_checkpoint_path: "ckpt-{number}"\n'
        f'all_model_checkpoint_paths: "ckpt-{number}"\n'
        f"all_model_checkpoint_timestamps: {1e9 + step}\n",
        encoding="utf-8",
    )
    return prefix
