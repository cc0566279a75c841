"""Records against the annotations they were made from, and against their manifest."""

from __future__ import annotations

from collections.abc import Iterator

from odapi_repro.datasets.census import SplitCensus, Tally
from odapi_repro.datasets.census.source_comparison import SourceComparison
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject, by_share
from odapi_repro.diagnosis.rules.data.images_read import loss_of_share

_ATTRIBUTE_WHY = {
    "class": "Objects are trained, and scored, as something that they are not.",
    "crowd": "The metric leaves crowd regions out: it scores other objects.",
    "area": "The metrics by size put these objects among the wrong ones.",
}
_CHOSEN = "that were chosen "
_MEND = "write the records again from this json with `data convert`"


class AnnotationsDiffer(RecordRule):
    """Records do not hold what the json says that they were made from.

    Anti-pattern

        # objects left out that a filter took for too small; classes renumbered in the json only

    No statistic of the records can tell an object that is not there, or a cat under the name of a
    dog, from a set that has fewer objects or more dogs.

    Best practice

        python -m odapi_repro.data check --data FOLDER --annotations instances_train.json

    Source

    Images by source_id or file name, boxes by the nearest within an image, equal to half a pixel.
    dataset_tools/create_coco_tf_record.py leaves out boxes that reach beyond the image by any
    fraction, and those without height or width: these are told apart. Images and classes that
    `data convert` was not to take are `info`, as many as the manifest beside the records says,
    where it tells of the same json by its sha256.
    """

    code = "REC022"
    name = "records.annotations"
    causes = ("annotations_differ_from_source",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields findings for images, then boxes, then what boxes carry."""
        for split in subject.census.splits:
            compared = subject.sources.get(split.split)
            if compared is not None:
                yield from self._not_chosen(subject, split, compared)
                yield from self._images(subject, split, compared)
                yield from self._boxes(subject, split, compared)
                yield from self._attributes(subject, split, compared)

    def _not_chosen(
        self, subject: RecordSubject, split: SplitCensus, compared: SourceComparison
    ) -> Iterator[Finding]:
        images, objects = compared.images_not_chosen, compared.objects_not_chosen
        told = []
        if images:
            told.append(f"{images:,} of {compared.images:,} images of {compared.path.name}")
        if objects:
            total = compared.boxes + objects
            told.append(f"{objects:,} of {total:,} objects of the images in the records")
        if not told:
            return
        yield self.told(
            subject,
            split,
            "annotations_differ_from_source",
            Severity.INFO,
            found=f"{' and '.join(told)} were not chosen when the records were made, as "
            "manifest.json says",
            expected="a subset on purpose",
            why="Metrics and losses cover what was chosen, not the whole set.",
            mend="nothing where that was wanted; else convert without --subset, --images and "
            "--classes",
            count=images or objects,
            counted="images" if images else "boxes",
        )

    def _images(
        self, subject: RecordSubject, split: SplitCensus, compared: SourceComparison
    ) -> Iterator[Finding]:
        missing, unknown = compared.images_missing, compared.images_unknown
        whole_count = compared.images - compared.images_not_chosen
        if missing.count:
            share = 1 - missing.count / whole_count
            loss, evidence = loss_of_share(share) if split.split == "train" else (2.0, ())
            yield self.finding(
                "annotations_differ_from_source",
                Severity.CRITICAL
                if split.split == "train" and share <= 0.3
                else by_share(1 - share, warning=0.05),
                fields=subject.field_of(split, "tf_record_input_reader.input_path"),
                found=f"{_word(split)}: {missing.count:,} of {whole_count:,} images of "
                f"{compared.path.name} {_CHOSEN if compared.images_not_chosen else ''}"
                "are in no record",
                expected="all images of the json, or a subset on purpose",
                why="They are not trained on."
                if split.split == "train"
                else "The metric covers fewer images.",
                loss_ap=loss,
                evidence=evidence,
                count=missing.count,
                counted="images",
                examples=missing.examples,
                mend=_MEND,
            )
        if unknown.count:
            whole = unknown.count == len(split.images)
            yield self._told(
                subject,
                split,
                Severity.CRITICAL if whole else Severity.WARNING,
                found=f"{unknown.count:,} of {len(split.images):,} images are not in "
                f"{compared.path.name}",
                expected="images of the json, by source_id or file name",
                why="This is another data set's json."
                if whole
                else "Nothing says what these images should hold.",
                tally=unknown,
                counted="images",
                loss_ap=5.0,
            )

    def _boxes(
        self, subject: RecordSubject, split: SplitCensus, compared: SourceComparison
    ) -> Iterator[Finding]:
        total = max(compared.boxes, 1)
        moved, missing, added = compared.moved, compared.missing, compared.added
        exchanged = compared.exchanged
        if exchanged.count:
            yield self._told(
                subject,
                split,
                by_share(exchanged.count / total, warning=0.01, critical=0.1),
                found=f"{exchanged.count:,} of {compared.boxes:,} objects in "
                f"{compared.images_told('exchanged')} have given place to the objects of another "
                f"image of {compared.path.name}",
                expected="the objects of the image itself",
                why="Boxes and classes have nothing to do with the picture.",
                tally=exchanged,
                loss_ap=60.0 * exchanged.count / total,
            )
        if moved.count:
            how = ", ".join(f"{count:,} {word}" for word, count in compared.how_moved.items())
            yield self._told(
                subject,
                split,
                by_share(moved.count / total, warning=0.01, critical=0.2),
                found=f"{moved.count:,} of {compared.boxes:,} objects in "
                f"{compared.images_told('moved')} have another box than in "
                f"{compared.path.name}: {how}",
                expected="the box of the json, to half a pixel",
                why="Boxes that are off teach positions that are off.",
                tally=moved,
                loss_ap=40.0 * moved.count / total,
            )
        if missing.count:
            why = {
                "without height or width": compared.missing_flat,
                "wholly outside the image": compared.missing_outside,
                "across its border": compared.missing_overrun,
            }
            left = missing.count - sum(why.values())
            explained = left == 0
            why["inside the image"] = left
            told = ", ".join(f"{count:,} {word}" for word, count in why.items() if count)
            yield self._told(
                subject,
                split,
                Severity.INFO
                if explained
                else by_share(missing.count / total, warning=0.01, critical=0.3),
                found=f"{missing.count:,} of {compared.boxes:,} objects in "
                f"{compared.images_told('missing')} are not in the records: {told}",
                expected=f"every object of {compared.path.name}",
                why="The OD API's converter leaves such boxes out."
                if explained
                else "Their objects are trained as background, and missing in the metric.",
                tally=missing,
                loss_ap=30.0 * missing.count / total,
            )
        if added.count:
            yield self._told(
                subject,
                split,
                by_share(added.count / total, warning=0.01, critical=0.3),
                found=f"{added.count:,} boxes in {compared.images_told('added')} are not "
                f"in {compared.path.name}",
                expected="objects of the json only",
                why="They are trained as objects, and nobody annotated them here.",
                tally=added,
                loss_ap=20.0 * added.count / total,
            )

    def _attributes(
        self, subject: RecordSubject, split: SplitCensus, compared: SourceComparison
    ) -> Iterator[Finding]:
        total = max(compared.boxes, 1)
        told = (
            ("class", compared.class_changed, "class", 60.0, 0.01, 0.2),
            ("crowd", compared.crowd_changed, "crowd flag", 2.0, 0.05, 2.0),
            ("area", compared.area_changed, "area", 0.5, 0.5, 2.0),
        )
        for kind, tally, word, loss, warning, critical in told:
            if not tally.count:
                continue
            share = tally.count / total
            yield self._told(
                subject,
                split,
                by_share(share, warning=warning, critical=critical),
                found=f"{tally.count:,} of {compared.boxes:,} objects in "
                f"{compared.images_told(kind)} have another {word} than in "
                f"{compared.path.name}",
                expected=f"the {word} of the json",
                why=_ATTRIBUTE_WHY[kind],
                tally=tally,
                loss_ap=loss * share,
            )

    def _told(
        self,
        subject: RecordSubject,
        split: SplitCensus,
        severity: Severity,
        *,
        found: str,
        expected: str,
        why: str,
        tally: Tally,
        loss_ap: float,
        counted: str = "boxes",
    ) -> Finding:
        return self.told(
            subject,
            split,
            "annotations_differ_from_source",
            severity,
            found=found,
            expected=expected,
            why=why,
            mend=_MEND,
            count=tally.count,
            counted=counted,
            examples=tally.examples,
            loss_ap=loss_ap,
        )


class NotOfManifest(RecordRule):
    """Record files are not those that the manifest beside them tells of.

    Anti-pattern

        # one shard of an earlier conversion left in the folder

    Best practice

    Convert into a new folder; keep `manifest.json` with the records.

    Source

    `data convert` writes the manifest with each file's records and digest.
    """

    code = "REC023"
    name = "records.manifest"
    causes = ("records_not_of_manifest",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding for all files that differ from the manifest."""
        faults = subject.manifest_faults
        if not faults:
            return
        name, fault = next(iter(faults.items()))
        yield self.finding(
            "records_not_of_manifest",
            Severity.WARNING,
            fields=(),
            found=f"{_files(len(faults))} of the manifest beside them; {name}: {fault}",
            expected="the files that manifest.json names, as it describes them",
            why="The records are not what was converted: a copy that broke off, or files of "
            "another conversion.",
            loss_ap=5.0,
            count=len(faults),
            counted="files",
            examples=list(faults)[:5],
            mend="convert again into an empty folder, or copy the files again",
        )


def _files(count: int) -> str:
    return "1 file is not that" if count == 1 else f"{count:,} files are not those"


def _word(split: SplitCensus) -> str:
    return "training" if split.split == "train" else "evaluation"
