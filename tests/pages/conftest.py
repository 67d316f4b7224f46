"""A browser that looks at pages."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from places import ROOT

FOLDER = ROOT / "tests" / "browser"  # the packages that look at a page, and their versions
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _install():
    """Install the packages once; skip the test, with npm's reason, where they cannot be had."""
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".installed"
    with lock.open(encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        wanted = file.read()
        if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
            return
        options = ("--ignore-scripts", "--engine-strict", "--no-audit", "--no-fund", "--fetch-retries=0")
        done = subprocess.run(["npm", "ci", *options], cwd=FOLDER, capture_output=True, text=True, check=False)  # noqa: S603, S607
        if done.returncode:
            pytest.skip(f"npm could not install what looks at pages: {done.stderr.strip()[:300]}")
        installed.write_text(wanted, encoding="utf-8")


@pytest.fixture(scope="session")
def look():
    """A function of a page's path that returns what a browser finds there."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if missing := [name for name in ("node", "npm") if not shutil.which(name)] + ([] if browser else ["chromium"]):
        pytest.skip(f"needs {', '.join(missing)}")
    _install()
    command = ["node", FOLDER / "look.mjs", browser]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603

        def look_at(path: Path):
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield look_at
        process.stdin.close()
