"""Git, as tests call it."""

import subprocess


def git(folder, *arguments):
    """Run git in a repository as nobody in particular, and give what it prints."""
    command = ["git", "-C", str(folder), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def begun(folder):
    """Make a repository without commits, whose branch is main."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def commit(root, **files):
    """Commit files, by their names with `/` as `__`; returns the commit."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_toml", ".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message=a")
    return git(root, "rev-parse", "HEAD")
