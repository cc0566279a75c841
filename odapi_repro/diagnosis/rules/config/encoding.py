"""A config that is written in another encoding than UTF-8."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject


class NotInUtf8(Rule):
    """The config is not UTF-8, so that nothing starts, whatever the letters stand in.

    Anti-pattern

        # a comment or a path in Korean, Chinese, Japanese, Cyrillic or with accents,
        # saved by an editor of Windows in its own code page (cp949, cp936, cp932, cp1251, cp1252);
        # or a config that PowerShell's > wrote, which is UTF-16

    One such letter in a comment is enough.

    Best practice

        Save the file as UTF-8 without a byte order mark.

    `python -m odapi_repro.fix` writes it in UTF-8 and names the encoding that it took it for, which
    is a guess from the letters that come out: look at your paths afterwards. The rest of the
    diagnosis reads the text in that encoding.

    Source

    utils/config_util.get_configs_from_pipeline_file reads through tf.io.gfile.GFile, which decodes
    UTF-8: model_main_tf2 ends with a UnicodeDecodeError.
    """

    code = "CFG008"
    name = "config.not_utf8"
    causes = ("not_utf8",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields one finding for the first byte, with the number of lines concerned."""
        found = subject.text.not_utf8
        if found is None:
            return
        read = f": `{found.sample[:100]}`" if found.sample and found.encoding else ""
        yield self.finding(
            "not_utf8",
            Severity.FATAL,
            fields=(),
            found=f"the config is not UTF-8: {found.place}; {found.guess}{read}",
            expected="a text in UTF-8, without a byte order mark",
            why="The OD API stops with a UnicodeDecodeError, for a letter in a comment, too.",
            loss_ap=100.0,
            where=f"{subject.text.path}:{found.line}:{found.column}",
            count=found.lines,
            counted="lines",
            mend=found.mend(subject.text.path),
        )
