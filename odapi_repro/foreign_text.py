"""Text that others wrote, on its way to a terminal, a Markdown page or a picture.

Names of classes, files, studies and paths come from data. A control character in one of them can
move the cursor, change a title or hide what follows; a newline ends a table row; `|` and `*` are
markup. Everything that prints a name from outside puts it through here.

JSON and CSV files keep the true names: they are quoted there, and a program reads them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

# C0, DEL, C1; line and paragraph separators; marks that turn the direction of writing; halves of
# surrogate pairs, which stand for bytes of a file name that are not UTF-8; invisible signs and
# what is no character at all, which an SVG must not hold.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069"
    "\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
_HIDDEN_BUT_NEWLINE = re.compile(_HIDDEN.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
# Only where Markdown takes it as a mark: batch_size, AP [95 % interval] and 3 < 5 stay as they are.
_MARKUP = re.compile(
    r"[\\`*|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|<(?=[A-Za-z/!?])|\](?=[(\[:])"
    r"|&(?=#|[A-Za-z][A-Za-z0-9]*;)|^[#>]|^[-+](?=\s)"
    r"|(?:(?<=^\d)|(?<=^\d\d)|(?<=^\d\d\d))[.)](?=\s)"
)
_MENTION = re.compile(r"(?<![A-Za-z0-9_])@(?=[A-Za-z0-9])")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(text: object) -> str:
    """Gives a text on one line, with what cannot be seen written as escapes, e.g. `\\x1b`."""
    return _HIDDEN.sub(_escape, str(text))


def shown_lines(text: object) -> str:
    """Gives a text of several lines; all but their ends is as in `shown`."""
    return _HIDDEN_BUT_NEWLINE.sub(_escape, str(text))


def shortened_name(text: object, most: int) -> str:
    """Gives a text as `shown` does, its middle left out where it has more than `most` letters."""
    plain = shown(text)
    if len(plain) <= most:
        return plain
    return f"{plain[: most // 2]}…{plain[len(plain) - (most - 1) // 2 :]}"


def markdown(text: object) -> str:
    """Gives a text as Markdown that shows just that text, in a line, a heading or a table cell.

    What Markdown does not take for a mark stays as it is; a mention calls nobody.
    """
    return _MENTION.sub("@&#8203;", _MARKUP.sub(r"\\\g<0>", shown(text)))


def markdown_code(text: object) -> str:
    """Gives a text as inline code, whatever backticks it holds; for table cells, too."""
    plain = shown(text).replace("|", "\\|") or " "
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence = "`" * (longest + 1)
    room = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{room}{plain}{room}{fence}"


def fenced(text: object) -> str:
    """Gives a text of several lines as a block of code, whatever backticks it holds."""
    plain = shown_lines(text)
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{plain}\n{fence}"


def command_line(arguments: Iterable[str]) -> str:
    """Gives what to type, on one line, for a shell to give a program just these arguments.

    An argument with something that cannot be seen is quoted as `$'...'`, as bash and zsh read it.
    """
    return " ".join(map(_quoted, arguments))


def _quoted(argument: str) -> str:
    if not _HIDDEN.search(argument):
        return shlex.quote(argument)
    visible = argument.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{_HIDDEN.sub(_shell_escape, visible)}'"


def _shell_escape(match: re.Match[str]) -> str:
    # By its bytes: `\x9b` in a shell's quotes is a byte, and no letter of UTF-8.
    errors = "surrogateescape" if "\udc80" <= match[0] <= "\udcff" else "surrogatepass"
    return "".join(f"\\{byte:03o}" for byte in match[0].encode("utf-8", errors))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
