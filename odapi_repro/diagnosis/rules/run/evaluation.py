"""RUN005: the evaluation saw fewer images than there are."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.run_rule import RunRule, RunSubject
from odapi_repro.pipeline.quantities import COCO_VAL_IMAGES

# It says nothing about AP lost; it makes the number itself unsafe, which ranks it high.
_UNSAFE_AP = 20.0


class EvaluationIncomplete(RunRule):
    """The last evaluation ended early, and its metrics are those of the images seen until then.

    Any exception in an evaluation step, out of memory included, ends the loop with a log line and
    no error. The metrics of the images so far are then reported as if they were all.

    Anti-pattern

        I1101 12:00:00 model_lib_v2.py: Encountered OOM when allocating tensor ... exception.
        I1101 12:00:00 model_lib_v2.py: A replica probably exhausted all examples.

    Best practice

    Before trusting a number, look for `Finished eval step` in the log: the last one, times the
    evaluation batch, is the number of images. Lower eval_config.batch_size where memory ran out.

    Source

    object_detection/model_lib_v2.py: eager_eval_loop catches every exception of a step. COCO
    val2017 has 5,000 images (cocodataset.org).
    """

    code = "RUN005"
    name = "run.evaluation_incomplete"
    causes = ("evaluation_incomplete",)

    def check(self, subject: RunSubject) -> Iterator[Finding]:
        """Yields one finding for an exception in the log, or fewer images than the reader has."""
        history = subject.history
        bounds = history.images_evaluated_bounds
        expected = _images_expected(subject)
        seen = ""
        if bounds is not None:
            least, most = bounds
            seen = f"{least:,}" if most == least else f"{least:,} to {most:,}" if most else ""
            seen = f" after {seen or f'at least {least:,}'} images"
        if history.evaluation_stopped_by:
            cut = history.evaluation_stopped_by[:120]
            found = f"the last evaluation was ended{seen} by an exception: {cut}"
        elif expected is not None and bounds is not None and (bounds[1] or expected) < expected:
            found = f"the last evaluation ended{seen}"
        else:
            return
        yield self.finding(
            "evaluation_incomplete",
            Severity.CRITICAL if history.evaluation_stopped_by else Severity.WARNING,
            fields=("eval_input_reader", "eval_config.batch_size"),
            found=found,
            expected="all images" if expected is None else f"all {expected:,} images",
            why=(
                "The metrics are those of the images seen until then, and are reported as if they "
                "were of all; they cannot be compared with anything."
            ),
            loss_ap=_UNSAFE_AP,
        )


def _images_expected(subject: RunSubject) -> int | None:
    """Gives the images that the evaluation reader has, where the file names are COCO's."""
    config = subject.config
    if config is None or not config.pipeline.meta_architecture or not subject.evaluates_coco:
        return None
    share = config.quantities.eval_shards_share
    if share is None:
        return None
    reader = config.pipeline.proto.eval_input_reader[0]
    images = int(COCO_VAL_IMAGES * share) // max(1, int(reader.sample_1_of_n_examples))
    # Shards differ by an image or so.
    images -= config.quantities.eval_shards_read or 0
    batch = max(1, int(config.pipeline.proto.eval_config.batch_size))
    return images // batch * batch if reader.drop_remainder else images
