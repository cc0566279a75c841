"""What is to be evaluated, as a user names it: a results file or a checkpoint."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from odapi_repro.datasets.limits import JSON_BYTES

if TYPE_CHECKING:
    from odapi_repro.evaluation.checkpoint import CheckpointSource
    from odapi_repro.evaluation.coco_data import ResultsFile
    from odapi_repro.pipeline import Pipeline


# Names that say nothing without their folder's.
_VAGUE = re.compile(
    r"(detections?|results?|predictions?|bbox|boxes|segm|masks?|checkpoint|saved_model|model\.ckpt"
    r"|ckpt-\d+|plain)",
    re.IGNORECASE,
)
# One of several in its folder, which has to be told, too.
_NUMBERED = re.compile(r"ckpt-\d+")


@dataclass(frozen=True)
class Subject:
    """One results file or checkpoint; it is read when it is first asked for.

    Attributes:
        path: as it was named.
        is_results: whether it is a results file.
        max_bytes: how many a gzipped results file may unpack to.
    """

    path: str
    is_results: bool
    max_bytes: int = JSON_BYTES

    @classmethod
    def of(cls, path: str, max_bytes: int = JSON_BYTES) -> Subject:
        """Tells a results file by its name, whether it exists or not."""
        return cls(path, path.lower().endswith((".json", ".json.gz")), max_bytes)

    @cached_property
    def results(self) -> ResultsFile:
        """The results file."""
        from odapi_repro.evaluation.coco_data import ResultsFile

        return ResultsFile(self.path, self.max_bytes)

    @cached_property
    def checkpoint(self) -> CheckpointSource:
        """The checkpoint.

        Raises:
            DataError: there is none.
        """
        from odapi_repro.evaluation.checkpoint import find_checkpoint

        return find_checkpoint(self.path)

    @cached_property
    def own_pipeline(self) -> Pipeline | None:
        """The pipeline.config that lies with it; of a results file, the one in its folder.

        Raises:
            ConfigError: it does not read.
        """
        from odapi_repro.pipeline import load_pipeline

        own: Path | None = Path(self.path).expanduser().parent / "pipeline.config"
        if not self.is_results:
            own = self.checkpoint.own_pipeline
        return load_pipeline(own) if own is not None and own.is_file() else None

    def digest(self, pipeline: Pipeline | None) -> str:
        """Gives 16 hex digits that stand for its detections: of the file, or of the checkpoint and
        the config it runs under."""
        if self.is_results:
            from odapi_repro.evaluation.coco_data.json_file import file_bytes

            content = file_bytes(Path(self.path).expanduser(), "detections")
        else:
            read = pipeline is not None and not self.checkpoint.saved_model
            text = pipeline.to_text() if pipeline is not None and read else ""
            content = f"{self.checkpoint.digest}\n{text}".encode()
        return hashlib.sha256(content).hexdigest()[:16]

    def has_masks(self, pipeline: Pipeline | None) -> bool:
        """Whether it holds masks, or, for a checkpoint, whether its config predicts them."""
        if not self.is_results:
            return pipeline is not None and pipeline.predicts_masks
        return self.results.has_masks


def labels(subjects: Sequence[Subject]) -> list[str]:
    """Gives each a short name: its file's, its folder's where that says nothing; no two alike."""
    parts = [Path(one.path).expanduser().resolve().parts for one in subjects]
    stems = [re.sub(r"(\.json)?(\.gz)?$", "", part[-1]) for part in parts]
    stems = [re.sub(r"^(ckpt-\d+)\.(index|data-\d{5}-of-\d{5})$", r"\1", stem) for stem in stems]
    names = [_name(part, stem) for part, stem in zip(parts, stems, strict=True)]
    if len(set(names)) < len(names):
        names = ["/".join((*part[-2:-1], stem)) for part, stem in zip(parts, stems, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} ({'model' if i == 0 else 'against'})" for i, name in enumerate(names)]
    return names


def _name(parts: Sequence[str], stem: str) -> str:
    """The stem, or its folder's name where it says nothing; of a numbered checkpoint both."""
    if not _VAGUE.fullmatch(stem) or len(parts) < 3:
        return stem
    folder = parts[-3] if parts[-2] == "checkpoint" and len(parts) > 3 else parts[-2]
    return f"{folder}-{stem}" if _NUMBERED.fullmatch(stem) else folder
