"""Property tests: one profile says how all of them run."""

import ast
import os

from hypothesis import HealthCheck, settings

from places import ROOT


def slowness(path):
    """Give the lines of a file that choose a deadline, or a health check of slowness, for Hypothesis."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("settings", "register_profile")):
            chosen = [ast.unparse(keyword) for keyword in node.keywords]
            if any(option.startswith("deadline=") or "too_slow" in option for option in chosen):
                yield node.lineno


def test_one_file_decides_what_is_too_slow():
    """No file but conftest.py sets a deadline for property tests, or switches off what else stops slow ones."""
    files = sorted(ROOT.joinpath("tests").rglob("*.py"))

    assert {path.relative_to(ROOT).as_posix() for path in files if any(slowness(path))} == {"tests/conftest.py"}


def test_no_property_test_fails_for_being_slow():
    """The profile in use has no deadline; a failure is printed in full, and under CI the examples never change."""
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
    assert settings.default.print_blob
    assert settings.default.derandomize == ("CI" in os.environ)
