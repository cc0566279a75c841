"""The order in which a report is written: numbers first, then each figure for itself.

What was measured may have taken days. No figure can lose it: tables and README.md are on the disk
before the first is drawn, and one that cannot be drawn is left out, with a line that says why.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from odapi_repro.files import cannot_write, write_whole
from odapi_repro.foreign_text import shown
from odapi_repro.page.blocks import Bullets, Page, Section
from odapi_repro.page.markdown_page import markdown_page

README: Final = "README.md"


@dataclass(frozen=True)
class Drawing:
    """Image files that are drawn together.

    Attributes:
        name: what a person calls them: their file's name without its ending.
        render: gives them by file name; nothing where there is nothing to draw.
    """

    name: str
    render: Callable[[], Mapping[str, bytes]]


@dataclass(frozen=True)
class Results:
    """What a folder in results/ holds: one report, its tables, and how its figures are drawn.

    Attributes:
        page: becomes README.md; its figures are those of `drawings` that could be drawn.
        tables: file name -> content, of everything else that is no figure.
        drawings: lists what is drawn; called once, when tables and page are written.
        earlier: names of files that an earlier call may have left, and that go if not written now.
        listings: gives further files that name the figures, from the names of those that are there.
    """

    page: Page
    tables: Mapping[str, bytes]
    drawings: Callable[[], Iterable[Drawing]]
    earlier: Iterable[str] = ()
    listings: Callable[[Collection[str]], Mapping[str, str]] = lambda files: {}

    def write(self, folder: Path, *, tell: Callable[[str], None] | None = None) -> tuple[Path, ...]:
        """Writes tables and page, then each figure, then the page again as it shows the figures.

        Args:
            folder: made if it is not there.
            tell: gets a line for each figure that is left out; stderr by default.

        Returns:
            The paths written, the page last.

        Raises:
            UserError, EnvironmentMissing: the folder cannot be written to, or the disk is full.
        """
        tell = tell or _to_stderr
        written = [_write(folder, name, content) for name, content in self.tables.items()]
        first = self._texts(sorted(self.tables))
        for name, text in first.items():
            _write(folder, name, text)
        figures: list[str] = []
        left_out: list[str] = []
        for files, problem in map(drawn, _drawings(self.drawings)):
            written += [_write(folder, name, content) for name, content in files.items()]
            figures += files
            if problem:
                left_out.append(problem)
                tell(problem)
        final = self._texts(sorted([*self.tables, *figures]), left_out)
        for name, text in final.items():
            if text != first.get(name):
                _write(folder, name, text)
        _remove(folder, {*self.earlier} - {*self.tables, *figures, *final})
        return (*written, *(folder / name for name in final))

    def _texts(self, files: Collection[str], left_out: Sequence[str] = ()) -> dict[str, str]:
        lost = Section("Figures that are left out", [Bullets(tuple(f"{one}." for one in left_out))])
        page = replace(self.page, blocks=(*self.page.blocks, lost))
        return {**self.listings(files), README: markdown_page(page, files)}


def drawn(drawing: Drawing) -> tuple[Mapping[str, bytes], str]:
    """Gives the files of a drawing, or none and a sentence that says why."""
    try:
        return drawing.render(), ""
    except Exception as error:
        why = shown(str(error).strip().split("\n", 1)[0][:200]) or "no reason given"
        name = shown(drawing.name)
        return {}, f"{name} could not be drawn and is left out: {type(error).__name__}: {why}"


def _drawings(drawings: Callable[[], Iterable[Drawing]]) -> Iterable[Drawing]:
    """Gives the drawings; where they cannot even be listed, one that says why."""
    try:
        yield from drawings()
    except Exception as error:
        problem = error

        def fail() -> Mapping[str, bytes]:
            raise problem

        yield Drawing("a figure", fail)


def _write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    # Halves of surrogate pairs are bytes of a name that are not UTF-8.
    content = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    return write_whole(path, content)


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(folder / name, error) from error


def _to_stderr(problem: str) -> None:
    print(f"warning: {problem}", file=sys.stderr, flush=True)
