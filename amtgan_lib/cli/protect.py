"""Run `protect`: photos in, files out; the exit status is 0 only if every chosen face is protected."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from amtgan_lib import evaluation, faces, formats, images, metadata, protection, recognizers
from amtgan_lib.cli import asking, folders, outcomes
from amtgan_lib.cli.arguments import Protect, face_numbers
from amtgan_lib.cli.asking import Panel
from amtgan_lib.cli.folders import PhotoJob
from amtgan_lib.cli.outcomes import Face, PhotoOutcome, plural
from amtgan_lib.errors import Interrupted, WrongArguments
from amtgan_lib.faces import DoubtfulFace, FaceCrop, SmallFace
from amtgan_lib.images import Photo, PhotoError, open_photo
from amtgan_lib.methods import targets
from amtgan_lib.methods.targets import Target
from amtgan_lib.protection import Protector, none_found

PLACE_KEPT = "the file records where the photo was taken (GPS)"
PLACE_LEFT_OUT = "where the photo was taken (GPS) was left out; --keep-location keeps it"


def run(options: Protect) -> int:
    """Protect what the options name; returns the exit status, or raises Interrupted after Ctrl-C."""
    held_out = asking.names(options.held_out, "--held-out") if options.held_out else []
    asked = asking.names(options.ask) if options.ask else held_out
    output = folders.destination(options)
    contents = folders.look(options.photo, output)
    jobs = folders.plan(options, output, contents)
    people = sys.stderr if options.json else sys.stdout
    print(f"{plural(len(jobs), 'photo')} -> {output}", file=people, flush=True)
    loaded = _load(options, asked, held_out) if any(not job.problem and not job.done for job in jobs) else None
    for note in loaded.notes if loaded else ():
        print(f"note: {note}", file=people, flush=True)
    whole = ProtectRun(options, loaded, contents.others, people, len(jobs) + len(contents.problems))
    for problem in contents.problems:
        whole.add(PhotoOutcome(options.photo, problem=problem))
    whole.work(jobs)
    return whole.conclude()


# ---------------------------------------------------------------- one photo


@dataclass(frozen=True)
class Loaded:
    """What every photo needs, loaded once: the protector, the makeup and the judges."""

    options: Protect
    protector: Protector
    reference: FaceCrop | None
    panel: Panel
    target: Target | None
    notes: tuple[str, ...] = ()

    @property
    def took_part(self) -> list[str]:
        """The recognisers that trained the generator or gave it hints."""
        return self.protector.method.recognizers

    def outcome(self, job: PhotoJob, people: TextIO) -> PhotoOutcome:
        """Protect one photo and judge the file as it will be written; it is moved into place only if it passes."""
        photo, method = open_photo(job.photo), self.protector.method
        lost = "" if method.writes_crops else formats.check(photo.original, job.output)  # before the work
        crops, left = self._found(photo, job)
        numbers = _chosen(crops, self.options, people)
        chosen = [crops[number - 1] for number in numbers]
        if method.writes_crops and len(chosen) > 1:
            raise PhotoError("this generator writes one face as a square crop: use --faces largest or --pick")
        result = self.protector.protect(photo, self.reference, strength=self.options.strength, found=chosen)
        with folders.draft(job.output) as draft:
            changes = [(report.mean_change, report.visible) for report in result.faces]
            keeping = {"keep_metadata": not self.options.strip_metadata, "keep_location": self.options.keep_location}
            result.save(draft, **keeping)
            del result  # a large photo's pixels
            answers = self._answers(chosen, photo, open_photo(draft))
            judged = {n: (answer, *change) for n, answer, change in zip(numbers, answers, changes)}
            seen = tuple(Face(n, crop.box, *judged.get(n, ())) for n, crop in enumerate(crops, 1))
            notes = (*_notes(photo, self.options), *self._strangers(seen), *filter(None, [lost]))
            outcome = PhotoOutcome(job.photo, job.output, seen, notes=notes, **self._about(left))
            # A face too small to change does not keep the others from being written.
            if outcome.verdict == evaluation.NOT_PROTECTED and not self.options.keep_recognised:
                older = (f"the older {job.output} is left as it was",) if os.path.lexists(job.output) else ()
                return replace(outcome, output=None, notes=older)
            if self.options.skip_existing and os.path.lexists(job.output):  # another run on this folder was faster
                return PhotoOutcome(job.photo, job.output, kept=True)
            _move(draft, job.output, self.options.overwrite)
        return outcome

    def _found(self, photo: Photo, job: PhotoJob) -> tuple[list[FaceCrop], Sequence[SmallFace | DoubtfulFace]]:
        """The faces of a photo and what cannot be changed of it, drawn where that is asked for; PhotoError for none."""
        crops, left = self.protector.method.detect_all(photo, self.options.boxes)
        if job.shown and not (self.options.skip_existing and os.path.lexists(job.shown)):
            images.save(job.shown, faces.boxed(photo, crops, left))
        if not crops:
            raise PhotoError(none_found(left))
        return crops, left

    def _about(self, left: Sequence[SmallFace | DoubtfulFace]) -> dict[str, Any]:
        """What an outcome tells beside its faces."""
        small, doubtful = faces.sorted_out(left)
        about = {"too_small": small, "doubtful": doubtful, "all_chosen": self.options.everyone}
        return about | {"confirmed": outcomes.independent(self.panel.names, self.took_part)}

    def _strangers(self, seen: Sequence[Face]) -> tuple[str, ...]:
        """The protected faces that no known photo shows, where there are known photos."""
        numbers = [str(face.number) for face in seen if face.chosen and not face.known]
        if not self.protector.known or not numbers:
            return ()
        which = f"face {numbers[0]} is" if len(numbers) == 1 else f"faces {', '.join(numbers)} are"
        return (f"{which} on none of the known photos: similarity is that to this photo itself",)

    def _answers(self, chosen: Sequence[FaceCrop], clean: Photo, written: Photo) -> list[tuple[evaluation.Answer, ...]]:
        if self.protector.method.writes_crops:
            clean, chosen = open_photo(images.to_pil(chosen[0].image)), [chosen[0].alone()]
        target = self.target.embeddings if self.target else None
        asked = self.panel.judges, self.panel.far, target, self.protector.known
        return [tuple(evaluation.same_face(crop, clean, written, *asked)) for crop in chosen]


def _load(options: Protect, asked: list[str], held_out: list[str]) -> Loaded:
    """Load what all photos need, or fail before any photo is touched."""
    target = list(map(str, options.target)) or None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        protector = protection.prepare(
            options.generator,
            target,
            impersonate=options.impersonate,
            passes=options.passes,
            held_out=held_out,
            quick=options.quick,
            stronger=options.stronger,
            known=folders.photos(options.known),
        )
    reference = None if options.reference is None else protector.method.reference(options.reference)
    hinting = {judge.name: judge for judge in protector.method.guide.recognizers} if protector.method.guide else {}
    drawn = bool(protector.method.world)
    wanted = asked or (recognizers.zoo("drawn" if drawn else "open") if not hinting else recognizers.judges_at_hand())
    panel = asking.panel(wanted, options.far, options.thresholds, hinting)
    person = targets.of_photos(target, panel.judges, "target") if target else None
    notes = tuple(str(item.message) for item in caught if issubclass(item.category, protection.ProtectionWarning))
    if protector.method.writes_crops:
        notes += (f"this generator writes the face alone, as a square crop of {protector.method.size} px, as released",)
    return Loaded(options, protector, reference, panel, person, notes)


def _move(draft: Path, output: Path, overwrite: bool) -> None:
    if os.path.lexists(output) and not overwrite:  # it was not there when the work began
        raise PhotoError(f"{output} was created by something else in the meantime: --overwrite replaces it")
    os.replace(draft, output)


def _notes(photo: Photo, options: Protect) -> tuple[str, ...]:
    """What the written file lacks of the photo's, or tells about its owner; nothing on what was to be left out."""
    if options.strip_metadata or not metadata.has_place(photo.exif):
        return photo.notes
    return (*photo.notes, PLACE_KEPT if options.keep_location else PLACE_LEFT_OUT)


def _chosen(crops: Sequence[FaceCrop], options: Protect, people: TextIO) -> Sequence[int]:
    """The numbers of the faces to protect, from 1."""
    if not options.picking:
        return range(1, 2 if options.faces == "largest" else len(crops) + 1)
    numbers = options.numbers or _asked_for(crops, people)
    if beyond := [number for number in numbers if number > len(crops)]:
        raise PhotoError(f"found {plural(len(crops), 'face')}, but --pick names face {beyond[0]}")
    return numbers


def _asked_for(crops: Sequence[FaceCrop], people: TextIO) -> tuple[int, ...]:
    """List the faces and ask which to protect; without a terminal there is nobody to ask."""
    for number, crop in enumerate(crops, 1):
        print(f"  {Face(number, crop.box).place} of {crop.name}", file=people, flush=True)
    if not sys.stdin.isatty():
        raise PhotoError("no face was chosen: give numbers, such as --pick 1,3")
    while True:
        print("Which faces? Numbers separated by commas, or Enter for all: ", end="", file=people, flush=True)
        text = sys.stdin.readline()
        if not text:
            raise PhotoError("no face was chosen")
        try:
            numbers = face_numbers(text) if text.strip() else tuple(range(1, len(crops) + 1))
        except WrongArguments as error:
            print(error, file=people)
            continue
        if numbers[-1] <= len(crops):
            return numbers
        print(f"Only {plural(len(crops), 'face')} found.", file=people)


# ---------------------------------------------------------------- all of them


@dataclass
class ProtectRun:
    """The photos of one call: their outcomes so far, and what is printed about them."""

    options: Protect
    loaded: Loaded | None
    others: Sequence[Path]
    people: TextIO
    total: int
    interrupted: bool = False
    done: list[PhotoOutcome] = field(default_factory=list)

    @property
    def took_part(self) -> Sequence[str]:
        """The recognisers that took part; none if nothing had to be loaded."""
        return self.loaded.took_part if self.loaded else ()

    def work(self, jobs: Sequence[PhotoJob]) -> None:
        """Run the jobs in order; a failed one does not stop the others, Ctrl-C does."""
        quiet = len(jobs) == 1 or self.options.picking or not sys.stderr.isatty()
        try:
            for job in tqdm(jobs, unit="photo", disable=quiet, leave=False):
                self.add(self._outcome(job))
        except KeyboardInterrupt:
            self.interrupted = True

    def _outcome(self, job: PhotoJob) -> PhotoOutcome:
        if job.done or (self.options.skip_existing and os.path.lexists(job.output)):
            return PhotoOutcome(job.photo, job.output, kept=True)
        if job.problem:
            return PhotoOutcome(job.photo, problem=job.problem)
        try:
            return self.loaded.outcome(job, self.people)
        # The photo, the disk or memory (torch: RuntimeError). Anything else is a bug, which must be seen.
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            reason = str(error) or "not enough memory"
            return PhotoOutcome(job.photo, problem=reason.removeprefix(f"{job.photo.name}: "))

    def add(self, outcome: PhotoOutcome) -> None:
        """Record an outcome and print it."""
        self.done.append(outcome)
        lines = [f"[{len(self.done)}/{self.total}] {outcomes.line(outcome)}"]
        lines += outcomes.report(outcome, self.took_part) if self.options.report else []
        lines += [f"  note: {note}" for note in (*outcome.too_small, *outcome.doubtful, *outcome.notes)]
        for line in lines:
            tqdm.write(line, file=self.people)
        self.people.flush()

    def conclude(self) -> int:
        """Print the summary; returns the exit status, or raises Interrupted."""
        panel = self.loaded.panel if self.loaded else None
        lines = outcomes.summary(self.done, panel, self.took_part)
        if self.options.report and panel:
            against = "the clean face" + ", or the most similar known one" * bool(self.options.known)
            lines.append(f"Similarity is measured against {against}: 1 means the same face, 0 nothing in common.")
            lines.append(f"Thresholds: {panel.source}.")
            lines += [outcomes.RAISED] * any(outcome.estimated for outcome in self.done)
        if self.loaded and not faces.cross_checked():
            fetch = "`python -m amtgan_lib assets fetch --group weights` fetches one"
            lines.append(f"No second detector checked for missed faces: {fetch}.")
        lines += self._advice()
        if self.others:
            lines.append(f"{plural(len(self.others), 'other file')} skipped: {', '.join(map(str, self.others))}")
        for line in lines:
            print(line, file=self.people, flush=True)
        status = 0 if all(outcome.good for outcome in self.done) else 1
        if status == 0 and not all(outcome.confirmed for outcome in self.done):
            status = outcomes.UNCONFIRMED
        if self.options.json:
            facts = self._facts(Interrupted.exit_status if self.interrupted else status)
            # ASCII only: what stdout puts in place of a character it lacks is not always valid JSON.
            print(json.dumps(facts, indent=2), flush=True)
        if self.interrupted:
            again = "; the same command with --skip-existing resumes from there" if self.total > 1 else ""
            raise Interrupted(f"interrupted: {len(self.done)} of {plural(self.total, 'photo')} done{again}.")
        return status

    def _advice(self) -> list[str]:
        """What may help with chosen faces that are not protected."""
        lines = []
        if any(outcome.chosen and not outcome.output for outcome in self.done):
            advice = f"{' or '.join(self._ways()) or 'another --generator'} may help"
            lines.append(f"For faces still recognised, {advice}; --keep-recognised writes such photos anyway.")
        written = [outcome for outcome in self.done if outcome.missed and outcome.output]
        if any(outcome.too_small for outcome in written):
            lines.append("Faces too small to change are unprotected in written photos: cover them or crop them out.")
        if any(outcome.doubtful for outcome in written):
            lines.append(
                "Look at the doubtful places (--show-faces draws them). A face there is unprotected in the file: "
                "mark it with --add-face, cover it or crop it out. If there is none, choose the faces with --pick."
            )
        return lines

    def _ways(self) -> list[str]:
        """What hides a face better than these options do."""
        method, options = self.loaded.protector.method, self.options
        searched = method.wear is not None
        ways = {
            "leaving out --quick": options.quick,
            "more --passes": method.guide and not searched,
            "a higher --strength": options.strength < 1,
            "--stronger": searched and not options.quick and not options.stronger,
            "--known with a photo that recognisers may hold": method.knowing and not options.known,
        }
        return [way for way, helps in ways.items() if helps]

    def _facts(self, status: int) -> dict:
        counts = {word: sum(outcome.status == word for outcome in self.done) for word in outcomes.STATUSES}
        return {
            "exit_status": status,
            "interrupted": self.interrupted,
            "counts": {"photos": self.total, **counts},
            "asked": {**self.loaded.panel.as_json(), "took_part": self.took_part} if self.loaded else None,
            "notes": self.loaded.notes if self.loaded else (),
            "skipped_files": [str(other) for other in self.others],
            "photos": [outcomes.as_json(outcome, self.took_part) for outcome in self.done],
        }
