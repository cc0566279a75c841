"""Cuts and insertions in a text proto that fit into its layout."""

from __future__ import annotations

from odapi_repro.pipeline.text_tree import Body, FieldNode, Value, comments_in

_INDENT = "  "
# The longest line that an insertion into a one-line message may make.
_WIDEST = 100


class Splices:
    """Collects edits by their positions in the original text, and makes them all at once.

    Attributes:
        text: the original.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._cuts: list[tuple[int, int, str]] = []
        self._added: dict[tuple[int, int], tuple[Body, list[str]]] = {}

    def replace(self, node: FieldNode, start: int, end: int, text: str) -> None:
        """Puts `text` for the span, which lies in the field; comments in it go above the field."""
        self._hoist(node, start, end)
        self._cuts.append((start, end, text))

    def replace_field(self, node: FieldNode, block: str) -> None:
        """Puts another field where this one stands."""
        alone = self._alone(node) is not None
        text = self._indented(block, self._indent(node.start)) if alone else _one_line(block)
        self.replace(node, node.start, node.end, text.strip())

    def remove(self, node: FieldNode) -> None:
        """Takes the field out, with its line when it stands alone there; comments stay."""
        rest = self._alone(node)
        if rest is None:
            behind = self.text[node.end :]
            end = len(self.text) - len(behind.lstrip(" \t"))
            self.replace(node, node.start, end, "")
            return
        indent = self._indent(node.start)
        comments = [comment for _, comment in comments_in(self.text, node.start, rest)]
        kept = "".join(f"{indent}{comment}{self._newline}" for comment in comments)
        self._cuts.append((self._line_start(node.start), self._next_line(rest), kept))

    def add(self, body: Body, block: str) -> None:
        """Adds a field at the end of a message."""
        self._added.setdefault((body.start, body.end), (body, []))[1].append(block)

    def insert(self, node: FieldNode, block: str, *, behind: bool) -> None:
        """Adds a field behind another one, or in front of it."""
        rest = self._alone(node)
        if rest is None:
            at, line = node.end if behind else node.start, _one_line(block)
            self._cuts.append((at, at, f" {line}" if behind else f"{line} "))
            return
        at = self._next_line(rest) if behind else self._line_start(node.start)
        block = self._indented(block, self._indent(node.start))
        is_last = at == rest  # the text ends without a line break
        self._cuts.append((at, at, self._newline + block if is_last else block + self._newline))

    def merge(self, into: Body, node: FieldNode, body: Body) -> None:
        """Takes the block out, and puts what it holds at the end of another message."""
        end = self._alone(node)
        if end is not None and not self.text[node.end : end].strip():
            self._cuts.append((self._line_start(node.start), self._next_line(end), ""))
        else:  # what follows on the line, or a comment, stays
            self._cuts.append((node.start, node.end, ""))
        # Between the name and its bracket, too, a comment may stand.
        head = [comment for _, comment in comments_in(self.text, node.start, body.start)]
        first, *rest = self.text[body.start : body.end].split("\n")
        indent = self._child_indent(into)
        lines = [indent + line for line in (*head, first.strip()) if line]
        lines += [line.rstrip() for line in rest if line.strip()]
        line_start = self._line_start(into.end)
        if line_start > into.start and not self.text[line_start : into.end].strip():
            kept = "".join(line + self._newline for line in lines)
            self._cuts.append((line_start, line_start, kept))
            return
        at = into.start + len(self.text[into.start : into.end].rstrip())
        if len(lines) == 1 and not comments_in(self.text, node.start, node.end):
            self._cuts.append((at, into.end, f" {first.strip()} "))
        elif lines:
            kept = "".join(self._newline + line for line in lines)
            self._cuts.append((at, into.end, kept + self._newline + self._indent(into.start)))

    def split(self, node: FieldNode, value: Value, before: FieldNode, after: FieldNode) -> None:
        """Closes the item between two of its fields, and opens another one for the second."""
        opening, closing = self.text[value.start], self.text[value.end - 1]
        begin = f", {opening}" if node.list_span is not None else f" {node.name} {opening}"
        rest = self._rest_of_line(before.end)
        own_lines = rest is not None and self._begins_line(after.start)
        if not own_lines or not self._begins_line(node.start):
            self._cuts.append((after.start, after.start, f"{closing}{begin} "))
            return
        indent = self._indent(node.start)
        begin = begin if node.list_span is not None else f"{self._newline}{indent}{begin.strip()}"
        line = self._next_line(rest or 0)
        self._cuts.append((line, line, f"{indent}{closing}{begin}{self._newline}"))

    def apply(self) -> str:
        """Gives the edited text."""
        for body, blocks in self._added.values():
            self._add_to(body, blocks)
        pieces: list[str] = []
        position = 0
        for start, end, text in sorted(self._cuts, key=lambda cut: cut[:2]):
            if start > position:
                pieces.append(self.text[position:start])
            # Behind a cut within the line, the blank is there already.
            doubled = pieces and pieces[-1].endswith(" ") and text.startswith(" ")
            pieces += [text[1:] if doubled else text] if text else []
            position = max(position, end)
        return "".join([*pieces, self.text[position:]])

    def _add_to(self, body: Body, blocks: list[str]) -> None:
        if not body.closing:
            broken = self.text and not self.text.endswith("\n")
            added = "".join(block + self._newline for block in blocks)
            self._cuts.append((body.end, body.end, (self._newline if broken else "") + added))
            return
        line = self._line_start(body.end)
        own_line = line > body.start and not self.text[line : body.end].strip()
        at = line if own_line else body.start + len(self.text[body.start : body.end].rstrip())
        joined = " ".join(map(_one_line, blocks))
        indented = [self._indented(block, self._child_indent(body)) for block in blocks]
        if own_line:
            self._cuts.append((at, at, "".join(block + self._newline for block in indented)))
        elif at - self._line_start(at) + len(joined) + 3 <= _WIDEST:
            self._cuts.append((at, body.end, f" {joined} "))
        else:
            added = "".join(self._newline + block for block in indented)
            self._cuts.append((at, body.end, added + self._newline + self._indent(body.start)))

    def _hoist(self, node: FieldNode, start: int, end: int) -> None:
        indent = self._indent(node.start)
        for _, comment in comments_in(self.text, start, end):
            self._cuts.append((node.start, node.start, comment + self._newline + indent))

    def _child_indent(self, body: Body) -> str:
        for node in body.fields:
            if self._begins_line(node.start):
                return self._indent(node.start)
        return self._indent(body.start) + _INDENT

    def _indented(self, block: str, indent: str) -> str:
        return self._newline.join(indent + line for line in block.split("\n"))

    def _line_start(self, position: int) -> int:
        return self.text.rfind("\n", 0, position) + 1

    def _next_line(self, position: int) -> int:
        found = self.text.find("\n", position)
        return len(self.text) if found < 0 else found + 1

    def _indent(self, position: int) -> str:
        start = self._line_start(position)
        line = self.text[start : self._next_line(start)]
        return line[: len(line) - len(line.lstrip())].rstrip("\r\n")

    def _alone(self, node: FieldNode) -> int | None:
        """Gives the end of the field's last line when nothing but a comment shares its lines."""
        return self._rest_of_line(node.end) if self._begins_line(node.start) else None

    def _begins_line(self, position: int) -> bool:
        return not self.text[self._line_start(position) : position].strip()

    def _rest_of_line(self, position: int) -> int | None:
        """Gives the end of the line when only blanks and a comment follow, else None."""
        end = self.text.find("\n", position)
        end = len(self.text) if end < 0 else end
        rest = self.text[position:end].strip()
        return end if not rest or rest.startswith("#") else None


def _one_line(block: str) -> str:
    return " ".join(map(str.strip, block.split("\n")))
