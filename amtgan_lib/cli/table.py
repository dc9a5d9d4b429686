"""The table of commands, without importing any of them."""

from typing import NamedTuple


class Command(NamedTuple):
    """`target` is "module:attribute": a function, or a dict of functions by subcommand name.

    tyro makes the arguments from a function's signature. It returns an exit status or None, which means 0. `examples`
    stand below the help: each is what follows the command's name, and what that does. `takes` describes the positional
    arguments, for the message about too many.
    """

    target: str
    help: str
    examples: tuple[tuple[str, str], ...] = ()
    takes: str = ""


COMMANDS = {
    "protect": Command(
        "amtgan_lib.cli.photos:protect",
        "protect the faces of a photo, or of a folder of photos",
        (
            ("me.jpg", "writes me_protected.png"),
            ("me.jpg --known profile.jpg", "hides it from recognisers that hold this other photo of the same person"),
            ("me.jpg -o out.jpg --reference makeup.jpg", "in the makeup of another photo, written as JPEG"),
            ("holiday -o safer --report", "every photo of a folder, and what each recogniser says"),
            ("holiday -o safer --skip-existing", "resumes: existing outputs are kept"),
            ("group.jpg --faces pick", "lists the faces with numbers and asks which to protect"),
            ("group.jpg --pick 1,3 --strip-metadata", "only two faces, without EXIF"),
            ("group.jpg --show-faces seen.png", "draws boxes around found, too small and doubtful faces"),
            ("group.jpg --add-face 310,40,420,180", "adds a face that no detector finds"),
            ("me.jpg --target friend.jpg --impersonate", "to pass as a friend who agreed"),
            ("holiday -o safer --json > report.json", "the full report as JSON"),
        ),
        takes="one photo or a folder of photos",
    ),
    "video": Command(
        "amtgan_lib.cli.video:video",
        "protect the faces of a video",
        (
            ("clip.mp4", "writes clip_protected.mp4; frames with a lost face are black"),
            ("clip.mp4 -o safer.mp4 --lost refuse", "writes nothing if a face is lost"),
        ),
        takes="one video",
    ),
    "evaluate": Command(
        "amtgan_lib.cli.photos:evaluate",
        "ask recognisers about clean and protected photos",
        (
            ("me.jpg me_protected.png", "compares with the clean photo"),
            ("me.jpg me_protected.png --known me_2019.jpg", "compares with another photo of the same person"),
            ("holiday safer --ask edgeface_xs,edgeface_xxs --json", "two folders, two recognisers"),
            ("safer --protocol drawn", "scores your PNG files on the photos of a protocol"),
            ("safer --protocol drawn --card card.yaml --submit", "makes an entry of the leaderboard"),
        ),
        takes="two photos or two folders",
    ),
    "train": Command(
        "amtgan_lib.cli.pipeline:train",
        "train generators (notebooks 01 to 03 of a preset)",
        (
            ("--recipe residual", "on drawn faces"),
            ("--preset any-target", "on photographs, for any target or nobody"),
            ("--recipe residual -p 03_train.steps='{residual: 50}'", "a short trial"),
            ("--recipe residual --resume-from results/runs/ID/train/residual/checkpoint.pt", "resumes a training"),
        ),
    ),
    "pipeline": Command(
        "amtgan_lib.cli.pipeline:pipeline",
        "run the notebooks of a preset in order",
        (
            ("", "the default preset, which needs no download: all tables and figures"),
            ("--preset open-small", "photographs and open recognisers"),
            ("--preset open-small -p far=0.001", "judged by a stricter threshold"),
            ("--run-id latest --from 05 --resume", "from notebook 05 on; finished steps are kept"),
        ),
    ),
    "sweep": Command(
        "amtgan_lib.cli.pipeline:sweep",
        "run a preset for each value of a parameter, in parallel",
        (("--preset procedural-long --over seed=0,1,2 -p held_out=mobilefacenet", "three runs, one table"),),
    ),
    "launch": Command(
        "amtgan_lib.cli.training:launch",
        "train generators without a notebook, in every process that torchrun starts",
        (("--run-id gpu --preset open --minutes 8 --half", "trains for eight minutes; --resume continues"),),
    ),
    "assets": Command(
        "amtgan_lib.cli.assets:COMMANDS",
        "list, fetch, verify and import photographs and weights",
        (
            ("list", "groups, sizes, licences, and what is on this machine"),
            ("fetch edgeface_xs edgeface_xxs", "fetches two recognisers"),
            ("import assets.zip", "imports the archive of the paper's authors"),
            ("import MT-Dataset.zip", "imports makeup photos, for -p world=imported"),
        ),
    ),
    "protocol": Command(
        "amtgan_lib.cli.protocol:protocol",
        "write the photos of a protocol, to be protected by any method",
        (
            ("drawn photos-to-protect", "drawn people, no download"),
            ("open photos-to-protect", "photographs of CelebA-HQ"),
        ),
    ),
    "results": Command(
        "amtgan_lib.cli.results:results",
        "make the tables and figures of README.md and docs/ again from the stored rows",
        (
            ("", "every page and figure that does not match the rows"),
            ("--only results.md --only README.md", "two pages alone"),
            ("--check", "writes nothing; exit status 1 if a page or figure is stale"),
        ),
    ),
}
