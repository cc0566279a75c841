"""An explanation before anything runs: what is varied, what is not, by which design."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from odapi_repro.analysis.attribution import (
    Combination,
    StudiedDeviation,
    at_reference,
    at_user,
    corners,
    labels_of,
    moved,
)
from odapi_repro.errors import UserError
from odapi_repro.factors import FACTORS, Level
from odapi_repro.features.explain.designs import Design
from odapi_repro.features.explain.explanation import (
    AUTO,
    REORDERING_DESIGNS,
    DesignChoice,
    Explanation,
    MappedLevel,
    RaceChoice,
    chosen_design,
    design_of,
)
from odapi_repro.features.explain.varied_deviations import (
    FactorDeviation,
    Varied,
    deviations_as_factors,
    sort_deviations,
)
from odapi_repro.pipeline import (
    Circumstances,
    Pipeline,
    derive_quantities,
    read_recipe,
    render_recipe,
)
from odapi_repro.pipeline.fields import field_differences
from odapi_repro.reference import ReportedMetric
from odapi_repro.trials.groundwork import Groundwork, StudyData, TrialConditions, lay_groundwork
from odapi_repro.trials.trial import Trial

# --- Factors that only make sense together move together, as one deviation ---


def grouped(varied: Varied, groups: Sequence[Sequence[str]] | None) -> tuple[StudiedDeviation, ...]:
    """Gives the deviations of a study, a group named by its factors joined with `+`.

    Args:
        varied: what it varies.
        groups: the factors of each group; None for the default, where a factor that only follows
            another moves with it. Factors in no group stand alone.

    Raises:
        UserError: a group with a factor that is not varied, or two groups with the same.
    """
    mappings = {one.factor: one for one in varied.mapped_levels}
    if groups is None:
        groups = [(leader, name) for name, leader in varied.followers.items()]
    _check(groups, list(mappings))
    member = {name: tuple(group) for group in groups for name in group}
    made: dict[tuple[str, ...], StudiedDeviation] = {}
    for name in mappings:
        factors = member.get(name, (name,))
        if factors not in made:
            made[factors] = StudiedDeviation(
                "+".join(factors),
                (
                    {each: mappings[each].reference.label for each in factors},
                    {each: mappings[each].user.label for each in factors},
                ),
            )
    return tuple(made.values())


def _check(groups: Sequence[Sequence[str]], varied: Sequence[str]) -> None:
    seen: set[str] = set()
    for group in groups:
        for name in group:
            if name not in varied:
                raise UserError(
                    f"--group {'+'.join(group)}: {name} is not varied",
                    expected=f"factors of {', '.join(varied)}",
                    mend="--plan lists what is varied and what is not, with the reason",
                )
            if name in seen:
                raise UserError(
                    f"--group: {name} is in two groups",
                    expected="each factor in one group at most",
                    mend="join the groups, or take it out of one",
                )
            seen.add(name)


# --- An explanation before anything runs: what is varied, what is not, by which design ---


_ALL_CORNERS = 64
# A race looks again at two and at five replicates more.
_RACE_STEPS = (0, 2, 5)


_TRAIN_FILES = "train_input_reader.tf_record_input_reader.input_path"


def reference_fields(
    reference: Pipeline,
    levels: Mapping[str, tuple[Level, Level]],
    factors: Collection[str],
    *,
    num_replicas: int = 1,
) -> tuple[tuple[str, str], ...]:
    """Gives field and value, as text, that bring some factors to the reference's level.

    What they move along is among them: at a user's smaller batch the reference's number of images
    takes more steps.

    Args:
        reference: at its own scale.
        levels: factor -> (reference's, user's) level of every deviation that a factor expresses.
        factors: those to mend, together.
        num_replicas: of the reference.
    """
    before = _rendered(reference, levels, (), num_replicas)
    after = _rendered(reference, levels, factors, num_replicas)
    files = (
        [(_TRAIN_FILES, f"the pattern that names all {levels['train_shards'][0].label} files")]
        if "train_shards" in factors
        else []
    )
    changed = field_differences(after.proto, before.proto)
    return (*files, *((path, _text(value)) for path, value, _ in changed))


def _rendered(
    reference: Pipeline,
    levels: Mapping[str, tuple[Level, Level]],
    mended: Collection[str],
    num_replicas: int,
) -> Pipeline:
    recipe = read_recipe(reference, num_replicas=num_replicas)
    for name, (_, user) in levels.items():
        # Which shards are read is a matter of files, which the reference leaves open.
        if name not in mended and name != "train_shards":
            recipe = FACTORS[name].edit(recipe, user)
    return render_recipe(recipe, reference)


def _text(value: object) -> str:
    if value is None:
        return "left out"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True)
class ExplainRequest(TrialConditions):
    """What the command line asks for.

    Attributes:
        study, command: the name, and the exact command line.
        reference_name: what the reference is called.
        reported: published for it.
        metric: what is attributed.
        design: of `design_choice.EXPLAINING_DESIGNS`.
        seeds: replicates of a cell, those that decide a path or a bisection among them.
        first_seed: the first of them.
        groups: factors that move together; None for the default groups.
        held: factors that stay at the reference's level.
        margin: half-width of equivalence, in points.
        orders, resolution: see `DesignChoice`.
        race: whether replicates are added where an effect is undecided.
        race_trials: how many trials a race may add; None for any.
        claimed, checkpoint_ap: see `Explanation`.
        user_steps, user_replicas: of the user's training, where the config does not tell.
        hours, cost_per_hour: of the budget.
    """

    study: str
    command: str
    reference_name: str
    reported: tuple[ReportedMetric, ...]
    metric: str
    design: str
    seeds: int
    first_seed: int = 1
    groups: tuple[tuple[str, ...], ...] | None = None
    held: tuple[str, ...] = ()
    margin: float = 0.5
    orders: int = 8
    resolution: int = 4
    race: bool = False
    race_trials: int | None = None
    claimed: float | None = None
    checkpoint_ap: float | None = None
    user_steps: int | None = None
    user_replicas: int | None = None
    hours: float | None = None
    cost_per_hour: float | None = None


@dataclass(frozen=True, eq=False)
class ExplanationPlan:
    """An explanation ready to run.

    Attributes:
        explanation: its record.
        ground: of its trials.
        levels: factor -> label -> level.
        design: of `explanation`.
    """

    explanation: Explanation
    ground: Groundwork
    levels: Mapping[str, Mapping[str, Level]]
    design: Design

    def trial(self, combination: Combination, seed: int) -> Trial:
        """The trial of a cell and a replicate."""
        labels = labels_of(self.design.deviations, combination)
        return self.ground.trial({name: self.levels[name][labels[name]] for name in labels}, seed)


def plan_explanation(
    user: Pipeline, reference: Pipeline, data: StudyData, request: ExplainRequest
) -> ExplanationPlan:
    """Gives the plan that explains the gap between a user's config and its reference.

    Raises:
        UserError: pipelines of different families, nothing that a study can vary, levels that
            cannot be combined, or a design that does not take so many deviations.
    """
    deviations = _deviations(user, reference, request)
    ground = lay_groundwork(reference, data, request)
    varied = sort_deviations(
        deviations,
        reference,
        ground.setting,
        scale=request.scale,
        held=request.held,
        user_replicas=request.user_replicas or 1,
    )
    if not varied.mapped_levels:
        raise _nothing_to_vary(user, request, deviations, varied)
    studied = grouped(varied, request.groups)
    choice = _design_choice(request, len(studied))
    levels = {
        one.factor: {one.reference.label: one.reference, one.user.label: one.user}
        for one in varied.mapped_levels
    }
    noun = "shapes images" if data.source.name == "embedded" else f"images of {data.source.name}"
    explanation = Explanation(
        study=request.study,
        command=request.command,
        pipeline=user.path.rpartition("/")[2],
        reference=request.reference_name,
        scale=request.scale,
        metric=request.metric,
        deviations=studied,
        mapped=tuple(_mapped(varied, studied, ground)),
        unvaried=varied.unvaried,
        design=choice,
        reported=request.reported,
        claimed=request.claimed,
        checkpoint=request.checkpoint_ap,
        data=f"{data.eval.num_examples} {noun}",
        num_train_images=data.train.num_examples,
        num_eval_images=data.eval.num_examples,
        scale_notes=ground.scaled.notes,
        hours=request.hours,
        cost_per_hour=request.cost_per_hour,
        eval_share=_eval_share(user, reference),
        foundation=ground.foundation,
    )
    plan = ExplanationPlan(explanation, ground, levels, design_of(choice, studied))
    return replace(plan, explanation=replace(explanation, same=_same_trainings(plan)))


def _deviations(
    user: Pipeline, reference: Pipeline, request: ExplainRequest
) -> tuple[FactorDeviation, ...]:
    told = request.user_replicas is not None
    return deviations_as_factors(
        user,
        reference,
        circumstances=Circumstances(
            num_train_steps=request.user_steps,
            num_replicas=request.user_replicas,
            look_at_disk=False,
        ),
        reference_circumstances=Circumstances(
            num_replicas=request.num_replicas if told else None, look_at_disk=False
        ),
    )


def _eval_share(user: Pipeline, reference: Pipeline) -> float | None:
    known = Circumstances(look_at_disk=False)
    mine, theirs = (derive_quantities(one, known).eval_shards_share for one in (user, reference))
    return mine if mine is not None and mine < (theirs or 1.0) else None


def _mapped(
    varied: Varied, studied: Sequence[StudiedDeviation], ground: Groundwork
) -> list[MappedLevel]:
    replicas = ground.conditions.num_replicas
    settings = {
        # What moves together is mended together: told once, with the first of a group.
        one.factors[0]: reference_fields(
            ground.pipeline, varied.levels, one.factors, num_replicas=replicas
        )
        for one in studied
    }
    return [
        MappedLevel(
            factor=one.factor,
            full_reference=one.full_reference,
            full_user=one.full_user,
            reference=one.reference.label,
            user=one.user.label,
            kept=one.kept,
            why=one.why,
            clipped=one.clipped,
            holds=FACTORS[one.factor].holds,
            settings=settings.get(one.factor, ()),
        )
        for one in varied.mapped_levels
    ]


def _nothing_to_vary(
    user: Pipeline,
    request: ExplainRequest,
    deviations: Sequence[FactorDeviation],
    varied: Varied,
) -> UserError:
    where, reference = user.path, request.reference_name
    if not deviations:
        return UserError(
            f"it does not deviate from {reference}",
            expected="a config that differs from its reference",
            mend="name another --reference; if trainings differ all the same, the difference is "
            "in the data, the environment or the evaluation: odapi-repro diagnose --run, evaluate",
            where=where,
        )
    kinds: dict[str, list[str]] = {}
    for one in varied.unvaried:
        kinds.setdefault(one.kind, []).append(one.factor)
    told = "; ".join(
        f"{kind.replace('_', ' ')}: {', '.join(dict.fromkeys(names))}"
        for kind, names in kinds.items()
    )
    return UserError(
        f"no deviation from {reference} can be varied by trainings ({told})",
        expected="a deviation that a training factor expresses",
        mend="odapi-repro diff shows them all; deviations of the evaluation are measured by "
        "odapi-repro run --ablate ... --checkpoint",
        where=where,
    )


def _design_choice(request: ExplainRequest, count: int) -> DesignChoice:
    name = chosen_design(count) if request.design == AUTO else request.design
    every = tuple(range(request.first_seed, request.first_seed + request.seeds))
    order: tuple[int, ...] = ()
    if name in REORDERING_DESIGNS:
        if len(every) < 2:
            raise UserError(
                f"--seeds {request.seeds} with --design {name}",
                expected="at least 2: one set of replicates decides what is tried first, another "
                "gives the shares; 3 give intervals",
                mend="--seeds 3",
            )
        order = every[: max(1, len(every) // 3)]
    seeds = every[len(order) :]
    race = None
    if request.race:
        if len(seeds) < 2:
            raise UserError(
                f"--race with {len(seeds)} replicate(s) of a cell to begin with",
                expected="at least 2, so that there is an interval to decide by; 3 are better",
                mend=f"--seeds {len(order) + 3}",
            )
        race = RaceChoice(tuple(len(seeds) + more for more in _RACE_STEPS), request.race_trials)
    return DesignChoice(
        name, seeds, order, request.margin, request.orders, request.resolution, race
    )


def _same_trainings(plan: ExplanationPlan) -> tuple[tuple[Combination, Combination], ...]:
    """Gives the cells that come to the training of another, and looks whether all can be run."""
    first: dict[str, Combination] = {}
    same = []
    for combination in _cells_to_check(plan.design.count):
        try:
            trial = plan.trial(combination, plan.explanation.design.seeds[0])
        except UserError as error:
            labels = labels_of(plan.design.deviations, combination)
            cell = ", ".join(f"{name}={label}" for name, label in labels.items())
            raise UserError(
                f"levels that cannot be combined: {cell}: {error.found}",
                expected=error.expected,
                mend="--hold one of them, or --group those that only make sense together",
            ) from error
        canonical = first.setdefault(trial.trial_id, combination)
        if canonical != combination:
            same.append((combination, canonical))
    return tuple(same)


def _cells_to_check(count: int) -> list[Combination]:
    """All corners where they are few; else the ends, and each deviation or pair at either end."""
    if 2**count <= _ALL_CORNERS:
        return corners(count)
    low, high = at_reference(count), at_user(count)
    some = [(index,) for index in range(count)]
    moves: list[Sequence[int]] = [*some, *itertools.combinations(range(count), 2)]
    cells = [low, high]
    cells += [moved(low, indices, 1) for indices in moves]
    cells += [moved(high, indices, 0) for indices in moves]
    return list(dict.fromkeys(cells))
