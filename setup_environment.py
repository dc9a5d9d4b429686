"""Make the Python environment that requirements.lock describes, once, in a cache folder, and link it as .venv.

Run by `make setup`. Standard library only, and the syntax of Python 2.7, so that an interpreter that is too old or too
new can say so in one sentence. Clones of the project with the same lock share one environment; for that reason the
checkout itself is not installed into it (the Makefile sets PYTHONPATH instead).
"""

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys

SUPPORTED = ((3, 11), (3, 12))
# Faster than pip on these packages: 19 s and 79 s in two runs, pip 182 s in one (nothing cached, a shared machine).
INSTALLER = "uv==0.13.9"
ROOT = os.path.dirname(os.path.abspath(__file__))
LOCK = os.path.join(ROOT, "requirements.lock")
LINK = os.path.join(ROOT, ".venv")
STAMP = "amtgan-complete"


def interpreter_problem(version=None):
    """Return one sentence that says why this interpreter cannot be used, or None when it can."""
    version = version or tuple(sys.version_info[:3])
    if tuple(version[:2]) not in SUPPORTED:
        wanted = " or ".join("%d.%d" % pair for pair in SUPPORTED)
        found = ".".join(str(part) for part in version[:3])
        return "AMT-GAN needs Python %s, and this is %s (%s): set PYTHON=/path/to/python%d.%d and run again." % (
            (wanted, found, sys.executable) + SUPPORTED[0]
        )
    try:
        import ensurepip  # noqa: F401
        import fcntl  # noqa: F401
    except ImportError as error:
        return (
            "AMT-GAN's setup needs a Linux or macOS Python with the modules venv, ensurepip and fcntl, and %s (%s): "
            "on Debian or Ubuntu install python%d.%d-venv, on Windows use WSL or environment.yml."
            % (sys.executable, error, version[0], version[1])
        )
    return None


def cache_folder():
    """Folder that holds the environments: AMTGAN_ENV_DIR, else amtgan in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return os.path.abspath(os.path.expanduser(os.environ.get("AMTGAN_ENV_DIR") or os.path.join(cache, "amtgan")))


def environment_folder():
    """Folder of the one environment that fits this lock and this interpreter."""
    with open(LOCK, "rb") as file:
        key = hashlib.sha256(file.read())
    # A home folder can be shared by machines of several kinds, an interpreter can be replaced by its next release.
    for part in (INSTALLER, platform.python_version(), sys.platform, platform.machine()):
        key.update(b"\n" + part.encode("utf-8"))
    name = "env-py%d%d-%s" % (sys.version_info[0], sys.version_info[1], key.hexdigest()[:12])
    return os.path.join(cache_folder(), name)


def is_complete(folder):
    """Whether an earlier setup reached its end and the interpreter it used is still there."""
    return os.path.exists(os.path.join(folder, STAMP)) and os.path.exists(os.path.join(folder, "bin", "python"))


@contextlib.contextmanager
def locked(folder):
    """Let one setup at a time work on `folder`; yields the descriptor that holds the lock."""
    import fcntl

    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(folder + ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another setup is at work on %s: waiting for it." % folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def install(folder, lock):
    """Fill `folder` with a virtual environment that holds the locked packages.

    The commands inherit `lock`: should this process be killed, the lock stays until they end too.
    """
    python = os.path.join(folder, "bin", "python")
    say("Making the environment %s (about 6 GB, once)." % folder)
    for command in (
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", INSTALLER],
        [python, "-m", "uv", "pip", "install", "--python", python, "--no-deps", "-r", LOCK],
    ):
        subprocess.run(command, check=True, pass_fds=(lock,))


def ensure(folder):
    """Make `folder` a complete environment; what an interrupted setup left behind is removed first."""
    if is_complete(folder):
        return
    with locked(folder) as lock:
        if is_complete(folder):
            return
        if os.path.isdir(folder):
            say("Removing the unfinished environment %s." % folder)
            # The stamp goes first: a setup that looks now, without the lock, must not find half of it complete.
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(folder, STAMP))
            shutil.rmtree(folder)
        install(folder, lock)
        with open(os.path.join(folder, STAMP), "w") as file:
            file.write(sys.version + "\n")
        say("The environment is complete.")


def link_problem():
    """Return one sentence when .venv is not ours to replace, else None."""
    if os.path.lexists(LINK) and not os.path.islink(LINK):
        return "%s is not the link that setup makes: move it away and run again." % LINK
    return None


def link(folder):
    """Point .venv of this checkout at `folder`."""
    if os.path.islink(LINK) and os.readlink(LINK) == folder:
        return
    temporary = "%s-%d" % (LINK, os.getpid())
    os.symlink(folder, temporary)
    os.replace(temporary, LINK)


def say(message):
    """Print a line of progress at once, between the lines of the programs that run."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def main(arguments):
    """Return the exit status, or the sentence that goes to stderr with exit status 1."""
    problem = interpreter_problem()
    if problem or arguments == ["--check"]:
        return problem
    if link_problem():
        return link_problem()
    folder = environment_folder()
    try:
        ensure(folder)
    except KeyboardInterrupt:
        return "Interrupted: run `make setup` again to finish the environment."
    except subprocess.CalledProcessError as error:
        return "Setup failed at `%s` (exit status %d, reason above): run `make setup` again after mending it." % (
            " ".join(error.cmd),
            error.returncode,
        )
    except OSError as error:
        return "Setup cannot write (%s): set AMTGAN_ENV_DIR to a folder with 7 GB to spare and run again." % error
    link(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
