"""One edit that makes a broken text proto parse further than before."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.text_draft import Draft, Mend, split_comment
from odapi_repro.diagnosis.text_outline import (
    Outline,
    Token,
    end_of_field,
    outline_until,
    tokens_from,
    tokens_until,
)

_NO_FIELD = re.compile(r'Message type "(?P<type>[^"]+)" has no field named "(?P<name>[^"]+)"')
_TWICE = re.compile(r'Message type "(?P<type>[^"]+)" should not have multiple "(?P<name>[^"]+)"')
_ONE_OF = re.compile(r'Field "(?P<name>\w+)" is specified along with .* type "(?P<type>[^"]+)"')
_BAD_VALUE = re.compile(
    r"Couldn't parse|Value out of range|has no value named|has no value with number|"
    r'Expected "true" or "false"|Enum type|Expected string but found|Expected "\{"'
)
_TEXT_FIELD = re.compile(r'\s*\w+\s*:\s*(?=")')
_ESCAPE = re.compile(r"escape|codec can't|at end of string|invalid start byte|missing ending quote")
# Quotation marks as word processors and web pages set them.
_TYPED = str.maketrans("\u201c\u201d\u201e\u2018\u2019", '"""\'\'')
_UNSEEN = re.compile("[\u200b-\u200f\u2028\u2029\u2060\ufeff\ufffd\ufffe]")


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


def mend(draft: Draft, error: text_format.ParseError) -> Mend | None:
    """Edits the draft so that the error does not recur; None when nothing can be done."""
    if not error.GetLine():
        return None
    line, column = int(error.GetLine() or 1) - 1, max(int(error.GetColumn() or 1) - 1, 0)
    if line >= len(draft.strict):
        line, column = len(draft.strict) - 1, len(draft.strict[-1])
    said = _without_place(str(error), draft.strict[line])
    unknown = _NO_FIELD.search(said)
    repeated = _TWICE.search(said) or _ONE_OF.search(said)
    if unknown is not None and not _is_field(draft, line, column):
        done, said = None, f"{unknown['name']!r} is out of place"
    elif unknown is not None:
        done = _mend_unknown(draft, line, column, unknown["name"], unknown["type"], said)
    elif repeated is not None:
        done = _mend_repeated(draft, line, column, repeated, said)
    elif _ESCAPE.search(said):
        done = _mend_string(draft, line, column, said)
    elif said in ('Expected "}".', 'Expected ">".'):
        done = close_at_the_end(draft)
    elif said == 'Expected "{".':
        done = open_after_name(draft, line, column)
    elif said == "Expected identifier." or "does not have extensions" in said:
        done = drop_list_bracket(draft, line, column)
    else:
        done = None
    return done or _mend_anyhow(draft, line, column, said)


def _without_place(message: str, line: str) -> str:
    """Leaves the position and the repeated line out of protobuf's message."""
    said = message.split(" : ", 1)[-1]
    return said.removeprefix(f"'{line}': ")[:300]


def _mend_unknown(
    draft: Draft, line: int, column: int, name: str, message_type: str, said: str
) -> Mend | None:
    balanced = balance_before(draft, line, column, name)
    if balanced is not None:
        return balanced
    meant = _misspelt(draft, line, column, name)
    if meant:
        text = draft.strict[line]
        draft.put(line, text[:column] + meant + text[column + len(name) :])
    else:
        draft.blank((line, column), end_of_field(draft.strict, line, column))
    return Mend("unknown_field", said, line, column, name, message_type.rsplit(".", 1)[-1])


def _is_field(draft: Draft, line: int, column: int) -> bool:
    """Whether a value or a block follows the word at a place."""
    tokens = list(islice(tokens_from(draft.strict, line, column), 2))
    return len(tokens) == 2 and tokens[1].text in (":", "{", "<")


def _misspelt(draft: Draft, line: int, column: int, name: str) -> str:
    """Gives the field that was meant, when its name is close and stands nowhere yet; or nothing."""
    owner = types_of(outline_until(draft.strict, line, column))[-1]
    known = list(owner.fields_by_name) if owner is not None else []
    close = difflib.get_close_matches(name[:80], known, n=1, cutoff=0.85)
    taken = close and any(re.search(rf"\b{close[0]}\s*[:{{]", one) for one in draft.strict)
    return close[0] if close and not taken else ""


def _mend_repeated(
    draft: Draft, line: int, column: int, repeated: re.Match[str], said: str
) -> Mend | None:
    name = repeated["name"]
    at = (line, column)
    if not draft.strict[line].startswith(name, column):
        statement = outline_until(draft.strict, line, column).statement
        if statement is None or statement.text != name:
            return None
        at = (statement.line, statement.column)
    if not draft.blank(at, end_of_field(draft.strict, *at), strict_only=True):
        return None
    return Mend("duplicate_field", said, *at, name, repeated["type"].rsplit(".", 1)[-1])


def _mend_string(draft: Draft, line: int, column: int, said: str) -> Mend | None:
    """Turns the backslashes of a Windows path, or closes a string."""
    string = _string_before(draft.strict, line, column)
    if string is None:
        return None
    text = draft.strict[string.line]
    end = string.column + len(string.text)
    if "\\" in string.text:
        turned = string.text.replace("\\\\", "\\").replace("\\", "/")
        draft.put(string.line, text[: string.column] + turned + text[end:])
        return Mend("windows_path", said, string.line, string.column)
    if "missing ending quote" in said:
        # What looks like a comment within the open string is one, once the string is closed.
        comment = re.search(r"\s+#.*$", text[string.column :])
        close = len(text.rstrip()) if comment is None else string.column + comment.start()
        draft.put(string.line, text[:close] + string.text[0] + text[close:])
        return Mend("syntax", said, string.line, string.column)
    return None


def _string_before(lines: Sequence[str], line: int, column: int) -> Token | None:
    """Gives the string that stands at a place, else the nearest one with a backslash before it."""
    for number in range(line, max(line - 3, -1), -1):
        tokens = [t for t in tokens_from(lines[: number + 1], number) if t.kind == "string"]
        for token in reversed(tokens):
            if (number, token.column) == (line, column):
                return token
            if (number, token.column) < (line, column) and "\\" in token.text:
                return token
    return None


def _mend_anyhow(draft: Draft, line: int, column: int, said: str) -> Mend | None:
    """Mends what people type by mistake; drops the field, the token or the line otherwise."""
    text = draft.strict[line]
    kind = "encoding" if _UNSEEN.search(text) else "syntax"
    retyped = _retyped(text, column, said)
    if retyped is not None and draft.put(line, retyped):
        nested = _TEXT_FIELD.match(text) is not None and text.count('"') > 2
        return Mend(kind, "quotes inside quotes" if nested else said, line, column)
    statement = outline_until(draft.strict, line, column).statement
    if statement is not None and _BAD_VALUE.search(said):
        start = (statement.line, statement.column)
        if draft.blank(start, end_of_field(draft.strict, *start)):
            return Mend(kind, said, line, column, statement.text)
    token = next(tokens_from(draft.strict[: line + 1], line, column), None)
    behind = column + len(token.text) if token is not None else len(text)
    if line in draft.dropped and not re.search(r"[{}]", text[column:]):
        behind = len(text)
    draft.dropped.add(line)
    if draft.blank((line, column), (line, behind)) or draft.blank((line, 0), (line, len(text))):
        return Mend(kind, said, line, column)
    return None


def _retyped(text: str, column: int, said: str) -> str | None:
    """Gives the line as it was probably meant; None where nothing comes to mind."""
    code, comment = split_comment(text)
    typed = _UNSEEN.sub(" ", code.translate(_TYPED))
    if typed != code:
        return typed + comment
    before, rest = text[:column], text[column:]
    retyped = None
    head = _TEXT_FIELD.match(text)
    path = re.match(r"[^\s\"'{}]+", rest)
    if head and code.count('"') > 2 and code.rstrip().endswith('"') and "\\" not in code:
        parts = [part.strip() for part in code[head.end() :].split('"') if part.strip()]
        retyped = f'{head.group()}"{parts[-1]}"' if parts else None
        retyped = f"{retyped}  {comment}" if retyped and comment else retyped
    elif said == 'Expected ":".' and rest.startswith("="):
        retyped = f"{before}:{rest[1:]}"
    elif said == 'Expected ":".' and re.match(r"[\w\"'.+-]", rest):
        retyped = f"{before.rstrip()}: {rest}"
    elif said.startswith("Expected string") and path:
        retyped = f'{before}"{path.group()}"{rest[path.end() :]}'
    elif rest.startswith("//"):
        retyped = f"{before}#{rest[2:]}"
    elif rest.startswith(("<<<<<<<", "=======", ">>>>>>>")):
        retyped = before + split_comment(rest)[1]
    return retyped
