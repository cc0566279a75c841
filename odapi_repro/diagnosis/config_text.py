"""A config as text: what was read, where it does not parse, and the edits that mend it.

A diagnosis does not stop at the first error, so the text is mended step by step (an unknown field
left out, a backslash turned, a bracket closed, a line dropped) until protobuf accepts it; each
mend is a problem that a rule reports. Mends never move a line, so positions stay those of the file.
"""

from __future__ import annotations

import difflib
import math
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.parse import NO_FIELD
from odapi_repro.pipeline.text_tree import TextWalk, Token, place_of, split_comment, tokens

if TYPE_CHECKING:
    from odapi_repro.pipeline.text_encoding import NotUtf8


# --- Mends a broken text proto where it stands, an edit for each error, until protobuf reads it ---


_TWICE = re.compile(
    r'Message type "(?P<type>[^"]+)" should not have multiple "(?P<name>[^"]+)"|'
    r'Field "(?P<member>\w+)" is specified along with .* type "(?P<owner>[^"]+)"'
)
_BAD_VALUE = re.compile(
    r"Couldn't parse|Value out of range|has no value named|has no value with number|"
    r'Expected "true" or "false"|Enum type|Expected string but found|Expected "\{"'
)
_TEXT_FIELD = re.compile(r'\s*\w+\s*:\s*(?=")')
_ESCAPE = re.compile(r"escape|codec can't|at end of string|invalid start byte|missing ending quote")
# Quotation marks as word processors and web pages set them.
_TYPED = str.maketrans("\u201c\u201d\u201e\u2018\u2019", '"""\'\'')
_UNSEEN = re.compile("[\u200b-\u200f\u2028\u2029\u2060\ufeff\ufffd\ufffe]")
_SNIPPET = 120
_ROOT = pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR
_Spot = tuple[int, int]
"""Line and column, from 0."""


@dataclass(frozen=True)
class ParseProblem:
    """One place that does not parse.

    Attributes:
        kind: `unknown_field`, `windows_path`, `syntax`, `encoding` (a letter that nobody sees),
            `not_utf8`, or `duplicate_field`, which the OD API takes: it merges, and the last one
            counts.
        message: what protobuf said, without the position.
        line: from 1.
        column: from 1.
        snippet: the line itself, cut to 120 characters.
        name: the unknown or repeated field's name, where that is the problem.
        message_type: the message that has no such field, or has it once only.
    """

    kind: str
    message: str
    line: int
    column: int
    snippet: str
    name: str = ""
    message_type: str = ""


@dataclass
class Draft:
    """A text under repair, as lines.

    Attributes:
        original: the lines as they were read.
        strict: what is parsed; in it a repeated field is left out, so that parsing goes on.
        merged: the same with repeated fields left in, as the OD API reads them.
        problems: what was mended, and whether it was given up.
        bracketed: lines before which a bracket was added or taken, which happens once.
        dropped: lines of which a token was left out; at the second error the rest goes too.
    """

    original: Sequence[str]
    strict: list[str] = field(init=False)
    merged: list[str] = field(init=False)
    problems: list[ParseProblem] = field(default_factory=list)
    bracketed: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.merged = list(self.original)
        self.begin_again()

    def begin_again(self) -> None:
        """Puts the repeated fields back in, so that what does not parse in them is mended, too."""
        self.strict = list(self.merged)
        self.bracketed, self.dropped = set(), set()

    def problem(
        self, kind: str, said: str, spot: _Spot, name: str = "", message_type: str = ""
    ) -> ParseProblem:
        """Gives the problem of a place."""
        line = min(max(spot[0], 0), len(self.original) - 1)
        snippet = self.original[line].strip()[:_SNIPPET]
        owner = message_type.rsplit(".", 1)[-1]
        return ParseProblem(kind, said, line + 1, spot[1] + 1, snippet, name, owner)

    @property
    def text(self) -> str:
        """The strict lines as one text."""
        return "\n".join(self.strict)

    def position(self, spot: _Spot) -> int:
        """Gives the position of a place in `text`."""
        return sum(map(len, self.strict[: spot[0]])) + sum(spot)

    def spot(self, position: int) -> _Spot:
        """Gives the place of a position in `text`."""
        place = place_of(self.text, position)
        return place.line - 1, place.column - 1

    def walk(self, spot: _Spot) -> TextWalk:
        """Gives what surrounds a place; the token that stands there is not looked at itself."""
        return TextWalk(self.text).to(self.position(spot))

    def put(self, number: int, line: str) -> bool:
        """Replaces a line; False where that changes nothing."""
        if self.strict[number] == line:
            return False
        if self.merged[number] == self.strict[number]:
            self.merged[number] = line
        self.strict[number] = line
        return True

    def blank(self, start: _Spot, end: _Spot, *, strict_only: bool = False) -> bool:
        """Turns the text from start to end into spaces; False where nothing was there.

        Comments stay, because nobody asked for them to go.
        """
        merged = list(self.merged)
        changed = False
        for number in range(start[0], min(end[0] + 1, len(self.strict))):
            line = self.strict[number]
            first = start[1] if number == start[0] else 0
            last = min(len(split_comment(line)[0]), end[1] if number == end[0] else len(line))
            if last > first:
                changed |= self.put(number, line[:first] + " " * (last - first) + line[last:])
        if strict_only:
            self.merged = merged
        return changed

    def blank_field(self, start: _Spot, *, strict_only: bool = False) -> bool:
        """Leaves out the field whose name stands at a place, its value included.

        A block that never closes ends before the first later line that is indented no deeper than
        its name.
        """
        begin = self.position(start)
        walk = TextWalk(self.text, begin).over_field()
        if not walk.root.fields:  # protobuf takes more letters for a name's
            word = _WORD.match(self.text, begin)
            return self.blank(start, self.spot(max(begin + 1, word.end() if word else 0)))
        end = self.spot(walk.root.fields[0].end)
        if walk.open:
            end = self._dedent(start[0])
        return self.blank(start, end, strict_only=strict_only)

    def _dedent(self, line: int) -> _Spot:
        depth = _indent(self.strict[line])
        for number in range(line + 1, len(self.strict)):
            code = split_comment(self.strict[number])[0].strip()
            if code and _indent(self.strict[number]) <= depth:
                return number, 0
        return len(self.strict), 0


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def mend_until_it_parses(
    draft: Draft, deadline: float, most: int, *, merge: bool
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Mends the draft until it parses or is given up, and gives what parsed.

    Args:
        draft: its `problems` grow by what was mended, and by one that says so if it is given up.
        deadline: when it is given up, of `time.monotonic`.
        most: problems at which it is given up.
        merge: whether to read as the OD API does, which takes a field that stands twice.
    """
    while True:
        proto, error, in_time = _parse(draft.strict, deadline, merge=merge)
        if not in_time:
            said, line = "reading it took too long; the rest is not looked at", len(draft.strict)
        elif error is None:
            return proto
        else:
            spent = len(draft.problems) >= most or time.monotonic() > deadline
            done = None if spent else _mend(draft, error)
            if done is not None:
                draft.problems.append(done)
                continue
            said = "too much does not parse; the rest is not looked at"
            line = error.GetLine() or len(draft.strict)
        draft.problems.append(draft.problem("syntax", said, (line - 1, 0)))
        return proto


def _parse(
    lines: Sequence[str], deadline: float, *, merge: bool
) -> tuple[pipeline_pb2.TrainEvalPipelineConfig, text_format.ParseError | None, bool]:
    """Gives what was parsed, the first error, and whether the time sufficed to look at all."""
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    in_time = True

    def until_the_deadline() -> Iterator[str]:
        nonlocal in_time
        for number, line in enumerate(lines):
            if number % 256 == 0 and time.monotonic() > deadline:
                in_time = False
                return
            yield line

    # types-protobuf knows MergeLines only.
    read = text_format.MergeLines if merge else text_format.ParseLines  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            # CUnescape warns of escapes that Python does not know, such as \d in a Windows path.
            warnings.simplefilter("ignore")
            read(until_the_deadline(), proto)
    except text_format.ParseError as error:
        return proto, error, in_time
    except (ValueError, TypeError, RecursionError) as error:
        return proto, text_format.ParseError(f"{type(error).__name__}: {error}"), in_time
    return proto, None, in_time


def _mend(draft: Draft, error: text_format.ParseError) -> ParseProblem | None:
    """Edits the draft so that the error does not recur; None when nothing can be done."""
    if not error.GetLine():
        return None
    line, column = int(error.GetLine() or 1) - 1, max(int(error.GetColumn() or 1) - 1, 0)
    if line >= len(draft.strict):
        line, column = len(draft.strict) - 1, len(draft.strict[-1])
    spot = line, column
    # protobuf's message begins with the position and the line.
    said = str(error).split(" : ", 1)[-1].removeprefix(f"'{draft.strict[line]}': ")[:300]
    unknown = NO_FIELD.search(said)
    done = None
    if unknown is not None and not _is_field(draft, spot):
        said = f"{unknown['name']!r} is out of place"
    elif unknown is not None:
        done = _mend_unknown(draft, spot, unknown, said)
    elif repeated := _TWICE.search(said):
        done = _mend_repeated(draft, spot, repeated, said)
    elif _ESCAPE.search(said):
        done = _mend_string(draft, spot, said)
    elif said in ('Expected "}".', 'Expected ">".'):
        done = _close_at_the_end(draft)
    elif said == 'Expected "{".':
        done = _open_after_name(draft, spot)
    elif said == "Expected identifier." or "does not have extensions" in said:
        done = _drop_list_bracket(draft, spot)
    return done or _mend_anyhow(draft, spot, said)


def _is_field(draft: Draft, spot: _Spot) -> bool:
    """Whether a value or a block follows the word at a place."""
    after = list(islice(tokens(draft.text, draft.position(spot)), 1, 2))
    return bool(after) and after[0].text in (":", "{", "<")


def _mend_unknown(
    draft: Draft, spot: _Spot, unknown: re.Match[str], said: str
) -> ParseProblem | None:
    name = unknown["name"]
    if balanced := _balance_before(draft, spot, name):
        return balanced
    line, column = spot
    meant = _misspelt(draft, spot, name)
    if meant:
        text = draft.strict[line]
        draft.put(line, text[:column] + meant + text[column + len(name) :])
    else:
        draft.blank_field(spot)
    return draft.problem("unknown_field", said, spot, name, unknown["type"])


def _misspelt(draft: Draft, spot: _Spot, name: str) -> str:
    """Gives the field that was meant, when its name is close and stands nowhere yet; or nothing."""
    owner = _types_in(draft.walk(spot).names)[-1]
    known = list(owner.fields_by_name) if owner is not None else []
    close = difflib.get_close_matches(name[:80], known, n=1, cutoff=0.85)
    taken = close and re.search(rf"\b{close[0]}\s*[:{{]", draft.text)
    return close[0] if close and not taken else ""


def _types_in(names: Sequence[str]) -> list[Any]:
    """Gives the message types from the root to the innermost of blocks; None where unknown."""
    types: list[Any] = [_ROOT]
    for name in names:
        known = types[-1].fields_by_name.get(name) if types[-1] is not None else None
        types.append(known.message_type if known is not None else None)
    return types


def _has_field(kind: Any, name: str) -> bool:
    return kind is not None and name in kind.fields_by_name


def _balance_before(draft: Draft, spot: _Spot, name: str) -> ParseProblem | None:
    """Adds or takes a closing bracket where that puts a field into a message that has it.

    Names and indentation decide: a field that stands no deeper than the block around it, and that
    a message further out has, ended that block; one that stands deeper than the block before it,
    which has it, belongs there. A line is balanced once.
    """
    if spot[0] in draft.bracketed:
        return None
    draft.bracketed.add(spot[0])
    walk = draft.walk(spot)
    return _close_before(draft, walk, spot, name) or _reopen(draft, walk, spot, name)


def _close_before(draft: Draft, walk: TextWalk, spot: _Spot, name: str) -> ParseProblem | None:
    """Closes blocks before a field that belongs further out, by its name and indentation."""
    line, column = spot
    before, after = draft.strict[line][:column], draft.strict[line][column:]
    types = _types_in(walk.names)
    owners = [depth for depth in range(len(walk.open)) if _has_field(types[depth], name)]
    if not owners:
        return None
    depth = owners[-1]
    block = draft.spot(walk.open[depth][0].start)
    dedented = not before.strip() and block[0] != line and column <= block[1]
    if not dedented and (depth or not _has_field(_ROOT, name)):
        return None
    closing = walk.closing(depth)
    room = len(before) - len(closing)
    kept = before[:room] if room >= 0 and not before[room:].strip() else before
    draft.put(line, kept + closing + after)
    return draft.problem("syntax", f"a closing bracket is missing before '{name}'", spot)


def _reopen(draft: Draft, walk: TextWalk, spot: _Spot, name: str) -> ParseProblem | None:
    """Takes back the bracket that closed the block to which a field belongs."""
    if walk.closed is None:
        return None
    if not _has_field(_types_in([*walk.names, walk.closed[0].name])[-1], name):
        return None
    block, brace = draft.spot(walk.closed[0].start), draft.spot(walk.closed[1])
    line, column = spot
    if column <= block[1] or brace[0] == block[0] or draft.strict[line][:column].strip():
        return None
    draft.blank(brace, (brace[0], brace[1] + 1))
    said = f"a closing bracket too many: '{name}' comes after it"
    return draft.problem("syntax", said, brace)


def _close_at_the_end(draft: Draft) -> ParseProblem | None:
    """Closes what is still open where the text ends."""
    walk = TextWalk(draft.text).to(len(draft.text))
    if not walk.open:
        return None
    code, comment = split_comment(draft.strict[-1])
    closed = f"{code} {walk.closing(0)}" + (f"  {comment}" if comment else "")
    draft.put(len(draft.strict) - 1, closed)
    block = walk.open[-1][0]
    return draft.problem("syntax", f"'{block.name}' is never closed", draft.spot(block.start))


def _open_after_name(draft: Draft, spot: _Spot) -> ParseProblem | None:
    """Adds the bracket that a block's name lacks, where the name ends its line."""
    statement = draft.walk(spot).statement
    if statement is None:
        return None
    name = statement.name
    line, column = begin = draft.spot(statement.start)
    code, comment = split_comment(draft.strict[line])
    if line >= spot[0] or code[column:].strip(" \t:") != name:
        return None
    draft.put(line, f"{code[:column]}{name} {{" + (f"  {comment}" if comment else ""))
    return draft.problem("syntax", f"an opening bracket is missing after '{name}'", begin)


def _drop_list_bracket(draft: Draft, spot: _Spot) -> ParseProblem | None:
    """Leaves out the `[` before a place, which began a name where none may be in brackets."""
    last = None
    for token in tokens(draft.text, 0, draft.position(spot)):
        last = token if token.text == "[" else last
    if last is None:
        return None
    line, column = draft.spot(last.start)
    draft.blank((line, column), (line, column + 1))
    return draft.problem("syntax", "a bracket out of place", (line, column))


def _mend_repeated(
    draft: Draft, spot: _Spot, repeated: re.Match[str], said: str
) -> ParseProblem | None:
    name = repeated["name"] or repeated["member"]
    if not draft.strict[spot[0]].startswith(name, spot[1]):
        statement = draft.walk(spot).statement
        if statement is None or statement.name != name:
            return None
        spot = draft.spot(statement.start)
    if not draft.blank_field(spot, strict_only=True):
        return None
    owner = repeated["type"] or repeated["owner"]
    return draft.problem("duplicate_field", said, spot, name, owner)


def _mend_string(draft: Draft, spot: _Spot, said: str) -> ParseProblem | None:
    """Turns the backslashes of a Windows path, or closes a string."""
    line, string = _string_before(draft.strict, spot)
    if string is None:
        return None
    text = draft.strict[line]
    if "\\" in string.text:
        turned = string.text.replace("\\\\", "\\").replace("\\", "/")
        draft.put(line, text[: string.start] + turned + text[string.end :])
        return draft.problem("windows_path", said, (line, string.start))
    if "missing ending quote" in said:
        # What looks like a comment within the open string is one, once the string is closed.
        comment = re.search(r"\s+#.*$", text[string.start :])
        close = len(text.rstrip()) if comment is None else string.start + comment.start()
        draft.put(line, text[:close] + string.text[0] + text[close:])
        return draft.problem("syntax", said, (line, string.start))
    return None


def _string_before(lines: Sequence[str], spot: _Spot) -> tuple[int, Token | None]:
    """Gives the string at a place with its line, else the nearest one with a backslash before."""
    for number in range(spot[0], max(spot[0] - 3, -1), -1):
        for token in reversed([one for one in tokens(lines[number]) if one.kind == "string"]):
            at = number, token.start
            if at == spot or (at < spot and "\\" in token.text):
                return number, token
    return spot[0], None


def _mend_anyhow(draft: Draft, spot: _Spot, said: str) -> ParseProblem | None:
    """Mends what people type by mistake; drops the field, the token or the line otherwise."""
    line, column = spot
    text = draft.strict[line]
    kind = "encoding" if _UNSEEN.search(text) else "syntax"
    retyped = _retyped(text, column, said)
    if retyped is not None and draft.put(line, retyped):
        nested = _TEXT_FIELD.match(text) is not None and text.count('"') > 2
        return draft.problem(kind, "quotes inside quotes" if nested else said, spot)
    owner = draft.walk(spot).statement if _BAD_VALUE.search(said) else None
    if owner is not None and draft.blank_field(draft.spot(owner.start)):
        return draft.problem(kind, said, spot, owner.name)
    token = next(tokens(text, column), None)
    behind = token.end if token is not None else len(text)
    if line in draft.dropped and not re.search(r"[{}]", text[column:]):
        behind = len(text)
    draft.dropped.add(line)
    if draft.blank(spot, (line, behind)) or draft.blank((line, 0), (line, len(text))):
        return draft.problem(kind, said, spot)
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


# --- A config as text: what was read, where it does not parse, and what could be parsed all the
# same ---


_MOST_MENDS = 50
_SECONDS = 0.6
_WORD = re.compile(r"\w*")
# Nothing that is longer is a config, and protobuf repeats the line in every message.
_LONGEST_LINE = 100_000
_MOST_LINES = 100_000


@dataclass(frozen=True)
class ConfigText:
    """The text of a config.

    Attributes:
        path: where it was read from.
        text: as it stands in the file; of one that is not UTF-8, as its likeliest encoding reads
            it.
        problems: what does not parse, in the order of the text; empty for a clean config.
        mended: the text as far as it was mended, line for line; `text` itself for a clean config.
            A field that stands twice is left in, because the OD API takes the last one.
        not_utf8: where it is not UTF-8, and what it probably is; None for one that is.
    """

    path: str
    text: str
    problems: tuple[ParseProblem, ...] = ()
    mended: str = ""
    not_utf8: NotUtf8 | None = None


def read_config_text(
    text: str, path: str, *, thorough: bool = False
) -> tuple[ConfigText, Pipeline]:
    """Gives the text with its problems, and the pipeline that could be made of it.

    Never raises for a text, and ends within about a second: after 50 mends or 0.6 s it gives what
    was parsed by then, possibly nothing.

    Args:
        text: has bytes that are not UTF-8 as `surrogateescape` gives them.
        path: where it was read from.
        thorough: look at all of it, however long that takes, and mend twice as much.
    """
    foreign = None
    if not text.isascii():
        from odapi_repro.pipeline.text_encoding import look_at_encoding  # of few configs

        foreign = look_at_encoding(text)
        text = text if foreign is None else foreign.text
    lines = text.split("\n", -1 if thorough else _MOST_LINES)
    draft = Draft(lines if thorough else [line[:_LONGEST_LINE] for line in lines])
    if foreign is not None:
        said = f"not UTF-8: {foreign.place}"
        spot = (foreign.line - 1, foreign.column - 1)
        draft.problems.append(draft.problem("not_utf8", said, spot))
    longest = max(range(len(lines)), key=lambda number: len(lines[number]))
    if len(draft.original[longest]) < len(lines[longest]):
        said = f"over {_LONGEST_LINE} characters in a line; the rest of it is not looked at"
        draft.problems.append(draft.problem("syntax", said, (longest, _LONGEST_LINE)))
    elif len(lines) > _MOST_LINES and not thorough:
        said = f"over {_MOST_LINES} lines; the rest is not looked at"
        draft.problems.append(draft.problem("syntax", said, (_MOST_LINES, 0)))
    seconds = math.inf if thorough else _SECONDS
    most = _MOST_MENDS * 2 if thorough else _MOST_MENDS
    proto = mend_until_it_parses(draft, time.monotonic() + seconds, most, merge=False)
    if any(one.kind == "duplicate_field" for one in draft.problems):
        # The OD API reads with text_format.Merge: the last of several counts.
        draft.begin_again()
        proto = mend_until_it_parses(draft, time.monotonic() + seconds, most, merge=True)
    problems = sorted(dict.fromkeys(draft.problems), key=lambda one: (one.line, one.column))
    mended = "\n".join(draft.merged) if problems else text
    return ConfigText(path, text, tuple(problems), mended, foreign), Pipeline(proto, path)
