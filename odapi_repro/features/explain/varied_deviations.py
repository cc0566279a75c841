"""Which of a user's deviations a study varies, with their levels, and which it cannot.

The levels of all factors are set on the reference's recipe and rendered; what then still differs
from the user's config is what no training factor expresses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odapi_repro.diagnosis.deviations import (
    FACTOR_ORDER,
    FieldDifference,
    QuantityDifference,
    find_deviations,
)
from odapi_repro.diagnosis.filled_fields import FieldValue
from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Level, Setting, factor_named
from odapi_repro.features.explain.explanation import ComparedField, UnvariedDeviation
from odapi_repro.features.explain.user_levels import (
    LevelRules,
    Levels,
    both_told,
    recipe_levels,
    shard_levels,
    train_shards_of,
    typed_levels,
)
from odapi_repro.pipeline import (
    Circumstances,
    Pipeline,
    Recipe,
    count_shards,
    read_recipe,
    render_recipe,
)
from odapi_repro.pipeline.fields import PLACEHOLDER

# --- From two configs to factors: which of a user's deviations a study can vary, and which it
# cannot ---


TRAINING = "training"
"""A training factor expresses it: it has levels, and a study can vary it."""
UNEXPRESSED = "unexpressed"
"""It may matter, and no training factor expresses it."""
EVALUATION = "evaluation"
"""It changes what is measured, not what is learned: see the factors without training."""
LEFT_OPEN = "left_open"
"""The reference has a placeholder there: a path of the user's."""
INERT = "inert"
"""It has no effect on what is learned or measured under model_main_tf2."""
_KINDS = (TRAINING, UNEXPRESSED, EVALUATION, LEFT_OPEN, INERT)

_EVALUATION_FACTORS = frozenset(
    {"score_threshold", "detections_per_image", "nms", "score_conversion", "evaluation"}
)
# They decide what is shown, saved or named.
_WITHOUT_EFFECT = frozenset({"visualisation", "run_keeping", "names"})
# Factor of `field_factors` -> the training factor that writes its fields.
_WRITTEN_BY = {
    "base_lr": "learning_rate",
    "lr_schedule": "schedule_length",
    "batch_norm": "batch_size",
}
# Of factors that move fields of others along, in the order in which they are asked.
_MOVERS = ("schedule_length", "batch_size", "learning_rate")
_TRAIN_FILES = "train_input_reader.tf_record_input_reader.input_path"
_EVAL_FILES = "eval_input_reader[0].tf_record_input_reader.input_path"


@dataclass(frozen=True)
class FactorDeviation:
    """What differs from the reference in one factor, in one way.

    Attributes:
        factor: of `FACTORS` where `kind` is `training`, else of `field_factors.FACTOR_ORDER`.
        kind: `training`, `unexpressed`, `evaluation`, `left_open` or `inert`.
        reference, user: levels at the pipeline's own scale; None unless `kind` is `training`. A
            level labelled `as_given` has no name that could be typed.
        fields: what it covers in the configs, `a` the user's; may be empty where the user left
            alone what the reference's recipe would have moved.
        quantities: what it amounts to where no level says so, `a` the user's.
    """

    factor: str
    kind: str
    reference: Level | None = None
    user: Level | None = None
    fields: tuple[FieldDifference, ...] = ()
    quantities: tuple[QuantityDifference, ...] = ()


def deviations_as_factors(
    pipeline: Pipeline,
    reference: Pipeline,
    *,
    circumstances: Circumstances | None = None,
    reference_circumstances: Circumstances | None = None,
) -> tuple[FactorDeviation, ...]:
    """Gives how a user's pipeline deviates, by kind and then in `FACTOR_ORDER`.

    Setting the levels of every `training` deviation on the reference's recipe gives the user's
    pipeline but for the fields of the other kinds. Replicas are compared where both
    circumstances tell them.

    Raises:
        UserError: pipelines of different meta-architectures.
        ConfigError: one has no optimizer, batch size or steps.
    """
    if pipeline.meta_architecture != reference.meta_architecture:
        raise UserError(
            f"{pipeline.path} is a {pipeline.meta_architecture or 'nameless'} model and "
            f"{reference.path} a {reference.meta_architecture or 'nameless'} one",
            expected="two pipelines of one meta-architecture: no factor turns one into another",
            mend="choose the reference that the config started from (odapi-repro zoo lists them)",
        )
    known = circumstances or Circumstances()
    theirs = reference_circumstances or Circumstances()
    pipeline, reference = _at_run_length(pipeline, known), _at_run_length(reference, theirs)
    shards = train_shards_of(pipeline), train_shards_of(reference)
    full = Setting(
        reference,
        recipe := read_recipe(reference, num_replicas=theirs.num_replicas or 1),
        recipe,
        num_train_files=shards[0].named,
    )
    before = _by_factor(pipeline, reference, known, theirs)
    levels = recipe_levels(read_recipe(pipeline), full, differs="augmentation" in before)
    if known.num_replicas and theirs.num_replicas and known.num_replicas != theirs.num_replicas:
        levels["sync_replicas"] = typed_levels("sync_replicas", str(known.num_replicas), full)
    if both_told(*shards) and shards[0].share != shards[1].share and shards[0].read:
        levels["train_shards"] = shard_levels(*shards, full)
    composed, opened = _composed(pipeline, reference, levels, recipe)
    after = _by_factor(pipeline, composed, known, known)
    return _sorted(before, after, levels, opened)


_Differences = Mapping[str, tuple[tuple[FieldDifference, ...], tuple[QuantityDifference, ...]]]


def _by_factor(
    a: Pipeline, b: Pipeline, known: Circumstances, theirs: Circumstances
) -> _Differences:
    found = find_deviations(a, b, a_circumstances=known, b_circumstances=theirs)
    return {one.factor: (one.fields, one.quantities) for one in found}


def _at_run_length(pipeline: Pipeline, known: Circumstances) -> Pipeline:
    """Gives the pipeline with `--num_train_steps` written, which changes num_steps alone."""
    steps = known.num_train_steps
    if steps is None:
        return pipeline
    return pipeline.edited(lambda proto: setattr(proto.train_config, "num_steps", steps))


def _composed(
    pipeline: Pipeline,
    reference: Pipeline,
    levels: Levels,
    recipe: Recipe,
) -> tuple[Pipeline, frozenset[str]]:
    """Gives the reference with all levels set, and the paths of files that it left open."""
    for name, (_, level) in levels.items():
        recipe = FACTORS[name].edit(recipe, level)
    own, theirs = _files(pipeline), _files(reference)
    opened = {
        path
        for path, names in theirs.items()
        if names and own.get(path) and all(PLACEHOLDER in name for name in names)
    }
    # Another share of the records is a deviation, whatever the files are called.
    if _another_share(own[_TRAIN_FILES], theirs[_TRAIN_FILES]):
        opened.discard(_TRAIN_FILES)
    if _another_share(own.get(_EVAL_FILES, []), theirs.get(_EVAL_FILES, [])):
        opened.discard(_EVAL_FILES)

    def edit(proto: Any) -> None:
        if _TRAIN_FILES in opened or "train_shards" in levels:
            reader = proto.train_input_reader.tf_record_input_reader
            reader.input_path[:] = own[_TRAIN_FILES]
        if _EVAL_FILES in opened:
            reader = proto.eval_input_reader[0].tf_record_input_reader
            reader.input_path[:] = own[_EVAL_FILES]

    return render_recipe(recipe, reference).edited(edit), frozenset(opened)


def _another_share(own: Sequence[str], theirs: Sequence[str]) -> bool:
    mine, other = (count_shards(files, look_at_disk=False) for files in (own, theirs))
    return both_told(mine, other) and mine.share != other.share


def _files(pipeline: Pipeline) -> dict[str, list[str]]:
    """Gives the paths of files that a config names, by field."""
    proto: Any = pipeline.proto
    found = {
        _TRAIN_FILES: list(proto.train_input_reader.tf_record_input_reader.input_path),
        "train_input_reader.label_map_path": [proto.train_input_reader.label_map_path],
        "train_config.fine_tune_checkpoint": [proto.train_config.fine_tune_checkpoint],
    }
    for index, reader in enumerate(proto.eval_input_reader):
        prefix = f"eval_input_reader[{index}]"
        found[f"{prefix}.tf_record_input_reader.input_path"] = list(
            reader.tf_record_input_reader.input_path
        )
        found[f"{prefix}.label_map_path"] = [reader.label_map_path]
    return {path: [name for name in names if name] for path, names in found.items()}


def _sorted(
    before: _Differences, after: _Differences, levels: Levels, opened: frozenset[str]
) -> tuple[FactorDeviation, ...]:
    left = {field.path for fields, _ in after.values() for field in fields if field.inert is None}
    differing = {field.path: field for fields, _ in before.values() for field in fields}
    covered: dict[str, list[FieldDifference]] = defaultdict(list)
    made: list[FactorDeviation] = []
    for factor, (fields, _) in before.items():
        live = [field for field in fields if field.inert is None and field.path not in left]
        covered[_writer(factor, levels)] += [field for field in live if field.path not in opened]
        by_kind = {
            LEFT_OPEN: [f for f in fields if f.path in opened],
            INERT: [f for f in fields if f.inert is not None],
        }
        made += [
            FactorDeviation(factor, kind, fields=tuple(found))
            for kind, found in by_kind.items()
            if found
        ]
    for factor, (reference, user) in levels.items():
        made.append(FactorDeviation(factor, TRAINING, reference, user, tuple(covered[factor])))
    for factor, (fields, quantities) in after.items():
        kept = tuple(
            differing.get(field.path, field)
            for field in fields
            if field.inert is None and field.path not in opened
        )
        if not kept and not quantities:
            continue
        kind = EVALUATION if factor in _EVALUATION_FACTORS else UNEXPRESSED
        kind = INERT if factor in _WITHOUT_EFFECT else kind
        made.append(FactorDeviation(factor, kind, fields=kept, quantities=quantities))
    return tuple(sorted(made, key=lambda one: (_KINDS.index(one.kind), _place(one.factor))))


def _writer(factor: str, levels: Levels) -> str:
    """Gives the training factor that moved a field of `factor`."""
    named = _WRITTEN_BY.get(factor, factor)
    return named if named in levels else next((m for m in _MOVERS if m in levels), named)


def _place(factor: str) -> int:
    return FACTOR_ORDER.index("base_lr" if factor == "learning_rate" else factor)


# --- A user's deviations sorted: those that a study varies, with their levels, and the others ---


AT_THIS_SCALE = "at_this_scale"
"""A factor expresses it, and the study's scale or data cannot vary it."""
HELD = "held"
"""Left out on request: it stands at the reference's level in all trials."""

_WHY = {
    UNEXPRESSED: "no training factor expresses it: all trials have the reference's",
    EVALUATION: "it changes what is measured and not what is learned",
    LEFT_OPEN: "the reference leaves it to the user",
    INERT: "it has no effect under model_main_tf2",
    HELD: "held at the reference's level on request",
}


@dataclass(frozen=True)
class LevelMapping:
    """One factor's two levels at the pipeline's own scale, and at the study's.

    Attributes:
        factor: its name.
        full_reference, full_user: labels at the pipeline's own scale.
        reference, user: levels at the study's scale; equal where it cannot vary the factor.
        kept: the relation that was kept.
        why: why that one, and what became of the others.
        clipped: whether the ratio of the two levels is not the pipeline's own.
    """

    factor: str
    full_reference: str
    full_user: str
    reference: Level
    user: Level
    kept: str
    why: str
    clipped: bool

    @property
    def is_varied(self) -> bool:
        """Whether the scale can tell the two levels apart."""
        return self.reference.value != self.user.value

    @property
    def text(self) -> str:
        """One line for a plan or a report."""
        return (
            f"{self.factor}: {self.full_reference} -> {self.full_user} at full scale is "
            f"{self.reference.label} -> {self.user.label} here "
            f"({'clipped' if self.clipped else 'kept'}: {self.kept}; {self.why})"
        )


def map_levels(
    deviations: Sequence[FactorDeviation],
    full: Pipeline,
    setting: Setting,
    *,
    scale: str,
    user_replicas: int = 1,
) -> tuple[LevelMapping, ...]:
    """Gives the levels of the `training` deviations where a study is made, others left out.

    Args:
        deviations: of the user's config from the reference.
        full: the reference at its own scale.
        setting: the reference at the study's scale.
        scale: `full`, `proxy` or `smoke`; at full scale levels stay as they are, and those that
            count images follow `--steps`.
        user_replicas: that share the user's batch.

    Raises:
        UserError: a factor does not apply at the study's scale (training files: the study's
            records are one).
    """
    by_factor = {one.factor: one for one in deviations if one.kind == TRAINING}
    levels = {
        name: (one.reference, one.user)
        for name, one in by_factor.items()
        if one.reference is not None and one.user is not None
    }
    rules = LevelRules(levels, full, setting, scale, user_replicas)
    mappings = []
    for name, (reference, user) in levels.items():
        FACTORS[name].check_applies(setting)
        here = rules.at_scale(name)
        mappings.append(
            LevelMapping(
                name,
                reference.label,
                user.label,
                FACTORS[name].reference_level(setting),
                here.level,
                here.kept,
                here.why,
                here.clipped,
            )
        )
    return tuple(mappings)


@dataclass(frozen=True)
class Varied:
    """What a study varies and what not.

    Attributes:
        mapped_levels: of the deviations that it varies.
        followers: factor -> the one that it only follows: the user left alone a field that the
            reference's recipe moves along with the other.
        levels: factor -> (reference's, user's) level at the pipeline's own scale, of every
            deviation that a factor expresses.
        unvaried: the others.
    """

    mapped_levels: tuple[LevelMapping, ...]
    followers: Mapping[str, str]
    levels: Mapping[str, tuple[Level, Level]]
    unvaried: tuple[UnvariedDeviation, ...]


def sort_deviations(
    deviations: Sequence[FactorDeviation],
    reference: Pipeline,
    setting: Setting,
    *,
    scale: str,
    held: Sequence[str],
    user_replicas: int,
) -> Varied:
    """Sorts the deviations of a user's config.

    Args:
        deviations: as `deviations_as_factors` gives them.
        reference: at its own scale.
        setting: the reference at the study's scale.
        scale: `full`, `proxy` or `smoke`.
        held: factors that are not to be varied.
        user_replicas: that share the user's batch.

    Raises:
        UserError: `held` names a factor that does not deviate.
    """
    training = {one.factor: one for one in deviations if one.kind == TRAINING}
    for name in held:
        if factor_named(name).name not in training:
            raise UserError(
                f"--hold {name}: it does not deviate",
                expected=f"one of {', '.join(training) or 'none'}",
                mend="leave it out",
            )
    unvaried = [
        UnvariedDeviation(one.factor, one.kind, _fields(one.fields), _why(one))
        for one in deviations
        if one.kind != TRAINING
    ]
    possible = []
    for name, one in training.items():
        why = _WHY[HELD] if name in held else _impossible(name, setting)
        if why:
            kind = HELD if name in held else AT_THIS_SCALE
            unvaried.append(UnvariedDeviation(name, kind, _fields(one.fields), why))
        else:
            possible.append(one)
    found = map_levels(possible, reference, setting, scale=scale, user_replicas=user_replicas)
    for mapping in found:
        if not mapping.is_varied:
            fields = _fields(training[mapping.factor].fields)
            unvaried.append(UnvariedDeviation(mapping.factor, AT_THIS_SCALE, fields, mapping.text))
    varied = tuple(mapping for mapping in found if mapping.is_varied)
    levels = {
        name: (one.reference, one.user)
        for name, one in training.items()
        if one.reference is not None and one.user is not None
    }
    return Varied(
        varied,
        _followers(training, [mapping.factor for mapping in varied]),
        levels,
        tuple(unvaried),
    )


def _impossible(factor: str, setting: Setting) -> str:
    try:
        FACTORS[factor].check_applies(setting)
    except UserError as error:
        return error.found
    return ""


def _followers(training: Mapping[str, FactorDeviation], varied: Sequence[str]) -> dict[str, str]:
    """A warm-up that no field of its own differs in follows the length of the run."""
    leader = "schedule_length"
    if "warmup" not in varied or leader not in varied or training["warmup"].fields:
        return {}
    return {"warmup": leader}


def _fields(differences: Sequence[FieldDifference]) -> tuple[ComparedField, ...]:
    return tuple(ComparedField(one.path, _text(one.a), _text(one.b)) for one in differences)


def _text(value: FieldValue | None) -> str:
    if isinstance(value, tuple):
        return ", ".join(_text(one) for one in value)
    return "" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)


def _why(one: FactorDeviation) -> str:
    told = [field.inert for field in one.fields if field.inert]
    if told:
        return "; ".join(dict.fromkeys(told))
    amounts = [
        f"{each.name.replace('_', ' ')} {each.a} {each.unit}, the reference's {each.b}"
        for each in one.quantities
    ]
    return "; ".join([_WHY[one.kind], *amounts])
