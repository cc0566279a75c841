"""Numbers, values and verdicts in words, as pages and JSON have them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.outcome import COSTLY, Diagnosis, QuantityPair
from odapi_repro.foreign_text import shown
from odapi_repro.page.numbers import count_of
from odapi_repro.reference import Reference

# Shown even where the two agree: what decides a training before anything else.
_CORE = frozenset({"global_batch", "images_seen", "epochs", "lr_base"})
_BREAKS = str.maketrans("\n\t", "  ")
_NO_RATE = 1e-6
_NAMED_IN_VERDICT = 3
_CLAUSE_COLUMNS = 56
_LEAST_CLAUSE = 20


def shortened(text: str, columns: int) -> str:
    """Gives the text cut at a word, with ` ...`, where it is longer than `columns`."""
    if len(text) <= columns:
        return text
    head = text[: columns - 3]
    cut = head.rfind(" ")
    return f"{head[: cut if 2 * cut >= columns else columns - 4].rstrip(' ,;:(')} ..."


def value_text(value: object) -> str:
    """Gives a quantity as a person reads it: `1,183`, `0.08`, `-` where it does not apply."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if math.isfinite(value) and 1000 <= abs(value) < 1e15:
            return f"{value:,.0f}"
        return f"{value:.4g}"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "none"
    return str(value) or "none"


def quantity_label(name: str, unit: str) -> str:
    """Gives `global_batch (images)`, or the name alone where a unit would say nothing new."""
    known = unit in ("1", "name", "names", "mode") or unit in name
    return name if known else f"{name} ({unit})"


def labelled(label: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Gives facts that share a label, without those that are empty."""
    for index, text in enumerate(filter(None, texts)):
        yield "" if index else label, text


def quantities_shown(pairs: Sequence[QuantityPair]) -> tuple[QuantityPair, ...]:
    """Gives the quantities that differ, and those that always matter."""
    return tuple(
        pair for pair in pairs if pair.name in _CORE or (pair.differs and not _is_nothing(pair))
    )


def _is_nothing(pair: QuantityPair) -> bool:
    """Whether a difference tells nothing: data that no name tells of, the end of two cosines."""
    if pair.name.startswith(("train_", "eval_shards")) and pair.pipeline is None:
        return True
    both = (pair.pipeline, pair.reference)
    return pair.name == "lr_last" and all(
        isinstance(rate, float) and abs(rate) < _NO_RATE for rate in both
    )


def reported_text(reference: Reference) -> list[str]:
    """Gives `AP 39.0, mask_AP 34.6: source; protocol`, numbers of one source together."""
    numbers: dict[str, list[str]] = {}
    for one in reference.reported:
        numbers.setdefault(f"{one.source}; {one.protocol}", []).append(
            f"{one.metric} {one.value:.1f}"
        )
    return [f"{', '.join(told)}: {source}" for source, told in numbers.items()]


def fix_text(fix: FieldFix) -> str:
    """Gives `train_config.batch_size: 8`, or `remove ...`; values as the text proto has them."""
    if fix.value is None:
        return f"remove {fix.field}"
    return f"{fix.field}: {_proto_value(fix.value)}"


def _proto_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_proto_value, value))}]"
    if isinstance(value, str) and not re.fullmatch(r"[A-Z][A-Z0-9_]*|\{\}", value):
        # An enum's value is a bare word in capitals, an empty message a pair of braces.
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)


def verdict(diagnosis: Diagnosis) -> str:
    """Gives the diagnosis in one line: how many problems, the first of them, the rest."""
    costly = diagnosis.of_severity(*COSTLY)
    other = rest_text(diagnosis)
    if not costly and diagnosis.data is not None and diagnosis.subject is None:
        images = sum(one.images for one in diagnosis.data.splits)
        boxes = sum(one.boxes for one in diagnosis.data.splits)
        found = "no finding" if not other else "no finding that costs AP"
        looked = f"{count_of(images, 'image')} and {boxes:,} boxes were looked at"
        return f"{looked}: {found}" + (f"; {other}" if other else "")
    if not costly:
        against = f" against {diagnosis.reference.name}" if diagnosis.reference else ""
        return f"Nothing found that costs AP{against}" + (f"; {other}" if other else "")
    told = [
        f"{shortened(_first_clause(one), _CLAUSE_COLUMNS)} ({one.severity.word})"
        for one in costly[:_NAMED_IN_VERDICT]
    ]
    more = len(costly) - len(told)
    named = ", ".join(told) + (f", {more} more" if more else "")
    return f"{count_of(len(costly), 'problem')}{_doing(costly)}: {named}"


def _doing(costly: Sequence[Finding]) -> str:
    """Gives what fatal problems do, as a clause behind `2 problems`; nothing without one."""
    one = len(costly) == 1
    if costly[0].severity != Severity.FATAL:
        return ""
    if costly[-1].severity != Severity.FATAL:
        return " that stop the run or cost AP"
    return f" that {'stops' if one else 'stop'} the run or {'voids' if one else 'void'} its numbers"


def rest_text(diagnosis: Diagnosis) -> str:
    """Gives `2 for information, 5 without effect`, or nothing."""
    counted = (
        (len(diagnosis.of_severity(Severity.INFO)), "for information"),
        (len(diagnosis.of_severity(Severity.INERT)), "without effect"),
    )
    return ", ".join(f"{count} {words}" for count, words in counted if count)


def _first_clause(finding: Finding) -> str:
    """Gives what was found up to the first comma or bracket behind which only details come."""
    text = shown(finding.found.translate(_BREAKS))
    if len(text) <= _CLAUSE_COLUMNS:
        return text
    return re.split(rf"(?<=.{{{_LEAST_CLAUSE}}})(?:; |: | \(|, )", text, maxsplit=1)[0]
