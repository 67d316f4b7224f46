"""Git, as tests call it."""

import subprocess


def git(folder, *arguments):
    """Run git in a repository as nobody in particular, and give what it prints."""
    command = ["git", "-C", str(folder), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
