"""Mends of brackets: one that is missing, one too many, one that does not belong."""

from __future__ import annotations

from typing import Any

from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.text_draft import Draft, Mend, split_comment
from odapi_repro.diagnosis.text_outline import Outline, Token, outline_until, tokens_until

_ROOT = pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR


def balance_before(draft: Draft, line: int, column: int, name: str) -> Mend | None:
    """Adds or takes a closing bracket where that puts a field into a message that has it.

    Names and indentation decide: a field that stands no deeper than the block around it, and that
    a message further out has, ended that block; one that stands deeper than the block before it,
    which has it, belongs there. A line is balanced once.
    """
    if line in draft.bracketed:
        return None
    draft.bracketed.add(line)
    outline = outline_until(draft.strict, line, column)
    if _closed_before(draft, outline, line, column, name):
        return Mend("syntax", f"a closing bracket is missing before '{name}'", line, column)
    brace = _reopened(draft, outline, line, column, name)
    if brace is not None:
        said = f"a closing bracket too many: '{name}' comes after it"
        return Mend("syntax", said, brace.line, brace.column)
    return None


def close_at_the_end(draft: Draft) -> Mend | None:
    """Closes what is still open where the text ends."""
    outline = outline_until(draft.strict, len(draft.strict), 0)
    if not outline.blocks:
        return None
    closing = "".join(block.closing for block in reversed(outline.blocks))
    last = len(draft.strict) - 1
    code, comment = split_comment(draft.strict[last])
    draft.put(last, f"{code} {closing}" + (f"  {comment}" if comment else ""))
    block = outline.blocks[-1]
    return Mend("syntax", f"'{block.name}' is never closed", block.line, block.column)


def open_after_name(draft: Draft, line: int, column: int) -> Mend | None:
    """Adds the bracket that a block's name lacks, where the name ends its line."""
    name = outline_until(draft.strict, line, column).statement
    if name is None or name.line >= line:
        return None
    text = draft.strict[name.line]
    code, comment = split_comment(text)
    if code[name.column :].strip(" \t:") != name.text:
        return None
    draft.put(name.line, f"{code[: name.column]}{name.text} {{" + (f"  {comment}" * bool(comment)))
    return Mend("syntax", f"an opening bracket is missing after '{name.text}'", *name[:2])


def drop_list_bracket(draft: Draft, line: int, column: int) -> Mend | None:
    """Leaves out the `[` before a place, which began a name where none may be in brackets."""
    last = None
    for token in tokens_until(draft.strict, line, column):
        last = token if token.text == "[" else last
    if last is None:
        return None
    draft.blank((last.line, last.column), (last.line, last.column + 1))
    return Mend("syntax", "a bracket out of place", last.line, last.column)


def _closed_before(draft: Draft, outline: Outline, line: int, column: int, name: str) -> bool:
    """Closes blocks before a field that belongs further out, by its name and indentation."""
    types = types_of(outline)
    text = draft.strict[line]
    first_on_line = not text[:column].strip()
    for depth in range(len(outline.blocks) - 1, -1, -1):
        owner = types[depth]
        if owner is None or name not in owner.fields_by_name:
            continue
        block = outline.blocks[depth]
        dedented = first_on_line and block.line != line and column <= block.column
        if not dedented and not (depth == 0 and name in _ROOT.fields_by_name):
            return False
        closing = "".join(one.closing for one in reversed(outline.blocks[depth:]))
        before = text[:column]
        room = len(before) - len(closing)
        kept = before[:room] if room >= 0 and not before[room:].strip() else before
        return draft.put(line, kept + closing + text[column:])
    return False


def _reopened(draft: Draft, outline: Outline, line: int, column: int, name: str) -> Token | None:
    """Takes back the bracket that closed the block to which a field belongs, and gives it."""
    if outline.closed is None:
        return None
    block, brace = outline.closed
    owner = types_of(Outline((*outline.blocks, block), None, None))[-1]
    if owner is None or name not in owner.fields_by_name or column <= block.column:
        return None
    if brace.line == block.line or draft.strict[line][:column].strip():
        return None
    draft.blank((brace.line, brace.column), (brace.line, brace.column + 1))
    return brace


def types_of(outline: Outline) -> list[Any]:
    """Gives the message types from the root to the innermost open block; None where unknown."""
    types: list[Any] = [_ROOT]
    for block in outline.blocks:
        known = types[-1].fields_by_name.get(block.name) if types[-1] is not None else None
        types.append(known.message_type if known is not None else None)
    return types
