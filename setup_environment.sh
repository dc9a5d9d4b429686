#!/bin/sh
# Make .venv: the packages of requirements.lock and this checkout, editable. Run by `make setup`; PYTHON=/path/to/python
# chooses the interpreter. Quick when nothing has changed. Interrupted, it starts again, from what uv has in its cache.
set -u
cd "$(dirname "$0")" || exit 1

INTERPRETERS="python3.12 python3.11 python3"  # left to right
UV="uv==0.13.9"
FIT='import ensurepip, fcntl, sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))'
NEEDED="a Python 3.11 or 3.12 that can make virtual environments (Debian and Ubuntu: python3.11-venv; Windows: use WSL)"
# Empty from the first moment on; what the environment was made from once it is complete.
STAMP=.venv/amtgan-setup

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

run() {
  "$@" || fail "Setup failed at \`$*\` (reason above): run \`make setup\` again after mending it."
}

# Scripts of an environment name its folder: one that was copied or moved along with its checkout is not complete.
wanted() {
  printf '%s %s %s\n' "$UV" "$(cat requirements.lock pyproject.toml setup.py | cksum)" "$(pwd -P)"
}

version() {
  "$1" -c 'import sys; print(sys.version)' 2>/dev/null
}

# Whether .venv is ours, runs, and is of the chosen interpreter's version.
usable() {
  [ ! -L .venv ] && [ -s "$STAMP" ] && [ -x .venv/bin/python ] &&
    { [ -z "${PYTHON:-}" ] || [ "$(version .venv/bin/python)" = "$(version "$PYTHON")" ]; }
}

complete() {
  usable && [ "$(cat "$STAMP")" = "$(wanted)" ]
}

# Print the first interpreter that fits; a name that exists but does not run, as pyenv's shims may, is passed over.
interpreter() {
  for python in $INTERPRETERS; do
    if "$python" -c "$FIT" >/dev/null 2>&1; then
      printf '%s\n' "$python"
      return
    fi
  done
  fail "AMT-GAN needs $NEEDED, and none of $INTERPRETERS on the PATH is one: set PYTHON=/path/to/python3.11 and run again."
}

if [ -n "${PYTHON:-}" ]; then
  "$PYTHON" -c "$FIT" >/dev/null 2>&1 ||
    fail "AMT-GAN needs $NEEDED, and PYTHON=$PYTHON is none: set PYTHON=/path/to/python3.11 and run again."
fi
if complete; then exit 0; fi
python=${PYTHON:-$(interpreter)} || exit 1

# One setup at a time. The programs that run below inherit descriptor 9, and with it the lock, should this shell be killed.
exec 9>.venv-lock
lock() {
  "$python" -c "import fcntl; fcntl.flock(9, fcntl.LOCK_EX | $1)" 2>/dev/null
}
if ! lock fcntl.LOCK_NB; then
  echo "Another setup is at work on this checkout: waiting for it."
  lock 0 || fail "Setup cannot lock $(pwd)/.venv-lock."
fi
if complete; then exit 0; fi

trap 'fail "Interrupted: run \`make setup\` again to finish the environment."' INT TERM
if [ -L .venv ]; then rm .venv; fi  # to the environment that checkouts shared before
rmdir .venv 2>/dev/null
if [ -e .venv ] && [ ! -e "$STAMP" ]; then
  fail "$(pwd)/.venv is not what setup makes: move it away and run again."
fi
from=$(wanted)
# Other packages are installed in place. Not for another uv or folder, and not over what was left unfinished: a package
# that was half copied would count as installed.
if usable && [ "$(cut -d' ' -f1,4- "$STAMP")" = "$(printf '%s\n' "$from" | cut -d' ' -f1,4-)" ]; then
  : >"$STAMP"
else
  echo "Making the environment .venv (about 7 GB, shared with uv's cache)."
  # Under another name first: half removed, without its stamp, it would look like somebody else's.
  run rm -rf .venv-old
  if [ -e .venv ]; then run mv .venv .venv-old; fi
  run rm -rf .venv-old
  run mkdir .venv
  run touch "$STAMP"
  run "$python" -m venv .venv
  run .venv/bin/python -m pip install --quiet --disable-pip-version-check "$UV"
fi
# Only the interpreter of .venv will do: uv may neither choose nor fetch another.
export UV_PYTHON=.venv/bin/python UV_PYTHON_DOWNLOADS=never
run .venv/bin/uv pip sync requirements.lock
run .venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
# What the first picture imports, so that it need not be compiled while somebody waits: half of its time.
for package in torch numpy PIL mediapipe google matplotlib IPython ipykernel ipywidgets traitlets jupyter_client zmq; do
  run .venv/bin/python -m compileall -q -j 0 .venv/lib/python3.*/site-packages/$package
done
printf '%s\n' "$from" >"$STAMP"
echo "The environment is complete."
