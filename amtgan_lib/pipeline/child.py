"""The process of one run of a sweep: `python -m amtgan_lib.pipeline.child JOB`, in JSON. It ends with its parent."""

import json
import os
import signal
import sys
import threading

from amtgan_lib.errors import Interrupted
from amtgan_lib.pipeline.jobs import SECONDS_TO_END
from amtgan_lib.pipeline.parameters import PresetError, Text
from amtgan_lib.pipeline.runner import NotebookFailed, run
from amtgan_lib.pipeline.runs import RunError


def main(job: str) -> int:
    """Run the job, keeping what is done of it; exit status: 0, 1 after a sentence on stderr, 130 interrupted."""
    # Python does not catch an interrupt that was ignored where the sweep was started, as `nohup` and `&` do.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    arguments = json.loads(job)
    overrides = {name: Text(value) for name, value in arguments.pop("overrides").items()}
    try:
        # What a killed parent left in this run is ending now.
        run(**arguments, overrides=overrides, resume=True, wait=2 * SECONDS_TO_END)
    except (Interrupted, KeyboardInterrupt):
        return Interrupted.exit_status
    except (NotebookFailed, PresetError, RunError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


def _end_with_parent() -> None:
    """stdin is a pipe that nobody writes to: it comes to its end when the parent does, also one that was killed."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
