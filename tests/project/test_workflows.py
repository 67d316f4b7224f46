"""The workflows of GitHub: what they may do, what they let in, and what their scripts make of what is not trusted."""

import configparser
import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

from places import ROOT

FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.y*ml"))
ACTIONS = ROOT / ".github" / "actions"
GATE, COMMENT, HISTORY, PAGES = "gate.yml", "gate-comment.yml", "gate-history.yml", "pages.yml"
PROSE = {"**.md", "docs/**", "LICENSE", "reports/**", "results/**"}
MARKER = "<!-- deeptwins performance gate -->"
COMMIT = "a" * 40
WHO = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")


def loaded(name):
    """A workflow; YAML reads the key `on` as true."""
    content = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


def steps(name, job=None):
    """The steps of a job, or of all."""
    jobs = loaded(name)["jobs"]
    return [step for key, value in jobs.items() for step in value["steps"] if job in {None, key}]


def action(name):
    """The steps of an action of this repository."""
    return yaml.safe_load((ACTIONS / name / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]


OWN = sorted(path.parent.name for path in ACTIONS.glob("*/action.yml"))
EVERYTHING = [FOLDER / name for name in NAMES] + [ACTIONS / name / "action.yml" for name in OWN]


def scripts(path):
    """What its steps run in a shell or in JavaScript."""
    for step in action(path.parent.name) if path.name == "action.yml" else steps(path.name):
        yield from filter(None, (step.get("run"), step.get("with", {}).get("script")))


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_actions_are_pinned(path):
    """Each action of others is named by a commit, with the version that it is of beside it: a tag may be moved."""
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line and "uses: ./" not in line
    ]

    assert lines
    for line in lines:
        assert re.search(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_lint_reads_every_script_workflow_and_action():
    """None is left out of what `tox -e lint` gives to the checkers."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    words = tox["testenv:lint"]["commands"].split()
    scripts = [*ROOT.glob(".ci/*"), *ROOT.glob("*.sh"), *ROOT.glob("bench/*.sh"), *ACTIONS.glob("*/*")]
    shell = [path for path in scripts if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")]

    assert len(shell) >= 4
    for path in [*shell, *EVERYTHING]:
        assert path.relative_to(ROOT).as_posix() in words


def test_an_action_has_one_version():
    """No two workflows use an action at different commits."""
    both = [step for name in NAMES for step in steps(name)] + [step for name in OWN for step in action(name)]
    used = {step["uses"] for step in both if "uses" in step}

    assert len(used) == len({each.partition("@")[0] for each in used})


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_is_pasted_into_a_script(path):
    """What anybody may write, such as the name of a branch, reaches a script as a variable only."""
    for script in scripts(path):
        assert not re.search(r"\$\{\{[^}]*(github\.event|head_ref|base_ref|steps\.|inputs\.)", script)


@pytest.mark.parametrize("name", NAMES)
def test_rights_are_given_by_name(name):
    """A workflow begins with reading at most; what it may write is granted to one of its jobs."""
    assert loaded(name)["permissions"] in ({}, {"contents": "read"})


def test_the_gate_only_reads():
    """It runs the code of anybody: on pull_request, with no right but to read, and without credentials."""
    gate = loaded(GATE)

    assert set(gate["on"]) == {"pull_request"}
    assert gate["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in gate["jobs"].values())
    assert "secrets." not in (FOLDER / GATE).read_text(encoding="utf-8")
    for step in steps(GATE):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_a_new_push_ends_the_measurement_of_the_last():
    """One run a pull request."""
    concurrency = loaded(GATE)["concurrency"]

    assert concurrency["cancel-in-progress"] is True
    assert "github.event.pull_request.number" in concurrency["group"]


def test_the_comment_runs_nothing_of_a_pull_request():
    """It is started by the gate's end, and runs main's own action alone, which installs main's own deeptwins."""
    comment, (checkout, own) = loaded(COMMENT), steps(COMMENT)
    used = {step["uses"].partition("@")[0] for step in action("gate-comment") if "uses" in step}

    assert comment["on"] == {"workflow_run": {"workflows": [loaded(GATE)["name"]], "types": ["completed"]}}
    assert checkout["with"] == {"persist-credentials": False}
    assert own == {"uses": "./.github/actions/gate-comment"}
    assert used == {"actions/github-script", "actions/download-artifact", "actions/setup-python"}
    (run,) = (step["run"] for step in action("gate-comment") if "run" in step)
    assert run.startswith("root=$GITHUB_ACTION_PATH/../../..\n")
    rights = {"actions": "read", "contents": "read", "pull-requests": "write"}
    assert [job["permissions"] for job in comment["jobs"].values()] == [rights]


def test_the_project_uses_the_action_that_others_use():
    """Both workflows that measure do."""
    for name, times in ((GATE, 1), (HISTORY, 2)):
        assert [step.get("uses") for step in steps(name)].count("./.github/actions/gate") == times


@pytest.mark.parametrize(("name", "event"), [(GATE, "pull_request"), (HISTORY, "push")])
def test_prose_runs_nothing(name, event):
    """A change of prose or of what machines wrote is not measured."""
    assert set(loaded(name)["on"][event]["paths-ignore"]) == PROSE


def test_only_the_job_that_records_may_write():
    """What is measured runs beside no right to push, and what pushes runs none of the package."""
    jobs = loaded(HISTORY)["jobs"]

    assert {name: job.get("permissions") for name, job in jobs.items()} == {
        "measure": None,
        "record": {"contents": "write"},
    }
    assert [step["run"] for step in steps(HISTORY, "record") if "run" in step] == [
        'bash .ci/gate-history append "$RUNNER_TEMP/new"'
    ]


def test_pages_are_deployed_by_one_workflow():
    """A deployment replaces the site: one workflow builds all of it, and follows the gate's history."""
    deploying = [name for name in NAMES if any("deploy-pages@" in step.get("uses", "") for step in steps(name))]

    assert deploying == [PAGES]
    assert loaded(PAGES)["on"]["workflow_run"]["workflows"] == [loaded(HISTORY)["name"]]
    assert [step["run"] for step in steps(PAGES, "build") if "run" in step][1:] == [
        "bash .ci/gate-history restore history && cp -R history/. results/reference",
        "tox run -e site",
    ]


def test_the_site_is_built_anew_when_anything_of_it_changes():
    """A push that touches a document, a record, the code of pages or what builds the site deploys it."""
    watched = set(loaded(PAGES)["on"]["push"]["paths"])
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    (copied,) = (line for line in tox["testenv:site"]["commands"].splitlines() if line.startswith("cp "))
    sources = copied.split()[2:-1]

    assert {"README.md", "docs", "ablations"} <= set(sources)
    assert {"*.md" if name.endswith(".md") and "/" not in name else name for name in sources} <= {
        *(path.removesuffix("/**") for path in watched),
        "docs/site/index.md",
    }
    assert {"results/reference/**", "src/**", "tox.ini", "constraints.txt"} <= watched


def ran(command, folder, variables):
    """Run a step as GitHub does; returns its exit code."""
    return subprocess.run(["bash", "-e", *command], cwd=folder, env=variables, check=False).returncode  # noqa: S603, S607


@pytest.mark.parametrize(
    ("code", "told", "exits", "data"),
    [
        (0, {"verdict": "only documents differ"}, 0, {"verdict": "only documents differ"}),
        (1, {"verdict": "Slower.", "run": "run.json"}, 1, {"schema": 1}),
        (2, {"error": "no such commit"}, 2, {"error": "no such commit"}),
        (3, {"verdict": "Not known.", "run": "run.json"}, 0, {"schema": 1}),
        (4, {"verdict": "Renamed.", "run": "run.json"}, 4, {"schema": 1}),
        (137, None, 2, {"error": "the gate did not finish (exit code 137): nothing is known of this change"}),
        (0, None, 2, {"error": "the gate did not finish (exit code 0): nothing is known of this change"}),
    ],
)
def test_what_the_gate_says_decides_the_build(tmp_path, code, told, exits, data):
    """Inconclusive is neutral, no result is a failure; the comment is made of the run, or of what was said instead."""
    gate = tmp_path / "bin" / "deeptwins"
    gate.parent.mkdir()
    (tmp_path / "run.json").write_text('{"schema": 1}')
    (tmp_path / "said").write_text(json.dumps(told) if told else "")
    gate.write_text(
        '#!/bin/sh\nif [ "$2" = summary ]; then test -s "$3" && cat "$3"; exit; fi\n'
        f'printf "%s\\n" "$@" > arguments\ncat said\nexit {code}\n'
    )
    gate.chmod(0o755)
    files = {"GITHUB_STEP_SUMMARY": str(tmp_path / "step.md"), "GITHUB_OUTPUT": str(tmp_path / "output")}
    inputs = {"SUITE": "a b", "BASE": "", "ANCHOR": "", "LIMIT": "9m", "INSTALL": "pip install .", "RESULTS": "r"}
    variables = files | inputs | {"OUT": "gate/x", "NUMBER": "7", "GITHUB_BASE_REF": "c;$(d)"}
    variables["PATH"] = f"{gate.parent}:{os.environ['PATH']}"

    assert ran([str(ACTIONS / "gate" / "compare")], tmp_path, variables) == exits
    out = tmp_path / "gate" / "x"
    assert json.loads((out / "comment" / "told.json").read_text()) == data
    assert json.loads((out / "summary.md").read_text()) == json.loads((tmp_path / "step.md").read_text()) == data
    assert (out / "comment" / "pull-request.txt").read_text() == "7\n"
    assert [path.name for path in (out / "runs").iterdir()] == (["run.json"] if "schema" in data else [])
    assert (tmp_path / "output").read_text() == f"code={exits if told is None else code}\n"
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[-6:] == ["--suite", "a b", "--install", "pip install .", "--base", "origin/c;$(d)"]


def test_history_is_measured_against_the_last_release_before(tmp_path):
    """A release is measured against the one before."""
    (script,) = (step["run"] for step in steps(HISTORY, "measure") if step.get("id") == "anchor")
    brought = tmp_path / "tests" / "project" / "test_house.py"
    brought.parent.mkdir(parents=True)
    git(tmp_path, "init", "--quiet")
    commits = []
    for number in range(4):
        if number == 1:
            brought.touch()
        git(tmp_path, "add", "tests")
        git(tmp_path, *WHO, "commit", "--quiet", "--allow-empty", "--message", str(number))
        commits.append(git(tmp_path, "rev-parse", "HEAD").strip())

    def anchor():
        output = tmp_path / "output"
        output.unlink(missing_ok=True)
        variables = {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(output)}
        assert ran(["-c", script], tmp_path, variables) == 0
        return output.read_text().strip().removeprefix("anchor=")

    assert anchor() == commits[1]
    git(tmp_path, "tag", "v0.1", commits[2])
    assert anchor() == "v0.1"
    git(tmp_path, "tag", "v0.2", commits[3])
    assert anchor() == "v0.1"


# What the comment's script does with what a pull request left behind.

HARNESS = """
const fs = require('node:fs')
const { script, pull, run, comments } = JSON.parse(fs.readFileSync(0, 'utf8'))
const said = []
const rest = {
  pulls: { get: async ({ pull_number }) => ({ data: { ...pull, number: pull_number } }) },
  issues: {
    listComments: 'listComments',
    createComment: async (what) => said.push({ create: what.issue_number, body: what.body }),
    updateComment: async (what) => said.push({ update: what.comment_id, body: what.body }),
  },
}
const github = { rest, paginate: async () => comments }
const context = { repo: { owner: 'o', repo: 'r' }, payload: { workflow_run: run } }
const core = { notice: (text) => said.push({ notice: text }), setOutput: () => {} }
const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor
new AsyncFunction('github', 'context', 'core', 'require', script)(github, context, core, require)
  .then(() => console.log(JSON.stringify(said)))
  .catch((error) => { console.error(error.message); process.exit(1) })
"""


@pytest.fixture
def comment(tmp_path):
    """Run the script on a summary and the number of a pull request; returns what it said, or the error."""
    if not (node := shutil.which("node")):
        pytest.skip("needs node, which runs the script on GitHub")
    script = list(scripts(ACTIONS / "gate-comment" / "action.yml"))[-1]

    def ran(summary="All is well.\n", number="7\n", sha=COMMIT, comments=()):
        (tmp_path / "summary.md").write_text(summary, encoding="utf-8")
        (tmp_path / "comment").mkdir(exist_ok=True)
        (tmp_path / "comment" / "pull-request.txt").write_text(number, encoding="utf-8")
        given = {
            "script": script,
            "pull": {"head": {"sha": sha, "repo": {"id": 1}}},
            "run": {"head_sha": COMMIT, "head_repository": {"id": 1}, "html_url": "https://example.org/run"},
            "comments": list(comments),
        }
        done = subprocess.run(  # noqa: S603
            [node, "-e", HARNESS],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            env={"FOLDER": str(tmp_path)},
            check=False,
        )
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()

    return ran


def test_a_pull_request_has_one_comment(comment):
    """The first run begins it, later ones change it; one that another person began with its mark is not touched."""
    (made,) = comment()
    mine = {"id": 3, "user": {"login": "github-actions[bot]"}, "body": made["body"]}
    theirs = {"id": 2, "user": {"login": "somebody"}, "body": made["body"]}

    assert made["create"] == 7
    assert made["body"].startswith(f"{MARKER}\nAll is well.\n")
    assert [said.get("update") for said in comment(comments=[theirs, mine])] == [3]
    assert [said.get("create") for said in comment(comments=[theirs])] == [7]


@pytest.mark.parametrize("number", ["", "0", "-1", "7; rm -rf /", "../8", "7\n8", "1e3", "9" * 30])
def test_a_number_that_is_none_is_refused(comment, number):
    """The number of the pull request is a number, and short."""
    assert "pull-request.txt: not a" in comment(number=number)


def test_the_comment_goes_to_the_pull_request_of_the_run_alone(comment):
    """A pull request that is not at the commit of the run gets no comment, whatever number is claimed."""
    (said,) = comment(sha="b" * 40)

    assert "Pull request 7 is not at" in said["notice"]


# The branch of earlier runs.


@pytest.fixture
def clone(tmp_path):
    """Return a function that clones a remote anew."""
    remote = tmp_path / "remote"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))

    def cloned(name):
        folder = tmp_path / name
        git(tmp_path, "clone", "--quiet", str(remote), str(folder))
        return folder

    return cloned


def git(folder, *arguments):
    """Run git; returns what it says."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603


def history(folder, *arguments):
    """Run the script of CI."""
    command = ["bash", str(ROOT / ".ci" / "gate-history"), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603


def put(folder, name, content="{}"):
    """Put a run into a folder of results; returns the folder."""
    path = folder / "gate" / "runs" / "2026" / "01" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return folder


def runs_of(folder):
    """The runs in a folder of results."""
    return sorted(path.name for path in folder.glob("gate/runs/*/*/*.json"))


def test_runs_are_added_and_come_back(clone, tmp_path):
    """The branch is begun, and grows; a restored folder has all, beside the committed ones."""
    first = clone("first")
    assert history(first, "append", put(tmp_path / "new", "1.json")).returncode == 0
    second = clone("second")
    assert history(second, "append", put(tmp_path / "newer", "2.json")).returncode == 0
    third = clone("third")
    put(third / "results" / "reference", "0.json")
    assert history(third, "restore", tmp_path / "all").returncode == 0

    assert runs_of(tmp_path / "all") == ["0.json", "1.json", "2.json"]
    assert git(third, "rev-list", "--count", "origin/gate-history").strip() == "2"
    assert not git(second, "status", "--porcelain")


def test_runs_that_were_added_meanwhile_stay(clone, tmp_path):
    """Who comes second adds on top of who was first, though it knew of nothing."""
    clones = [clone(name) for name in ("one", "other")]
    for number, folder in enumerate(clones):
        assert history(folder, "append", put(tmp_path / f"new-{number}", f"{number}.json")).returncode == 0
    history(reader := clone("reader"), "restore", reader / "results")

    assert runs_of(reader / "results") == ["0.json", "1.json"]


def test_a_push_that_is_refused_is_tried_again(clone, tmp_path):
    """A run that lands between fetch and push costs one more attempt."""
    folder = clone("one")
    hook = tmp_path / "remote" / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\nmkdir {tmp_path}/once 2> /dev/null && exit 1\nexit 0\n", encoding="utf-8")
    hook.chmod(0o755)

    assert history(folder, "append", put(tmp_path / "new", "1.json")).returncode == 0
    assert (tmp_path / "once").is_dir()
    assert git(folder, "ls-remote", "--heads", "origin", "gate-history")


def test_no_run_is_changed(clone, tmp_path):
    """Another content under a name that is there is refused; the same content is nothing new."""
    history(folder := clone("one"), "append", put(tmp_path / "new", "1.json"))
    again = history(folder, "append", tmp_path / "new")
    changed = history(folder, "append", put(tmp_path / "other", "1.json", '{"a": 1}'))

    assert again.returncode == 0
    assert changed.returncode != 0
    assert "would be changed" in changed.stderr
    assert git(folder, "rev-list", "--count", "origin/gate-history").strip() == "1"


def test_without_a_branch_nothing_comes_back(clone, tmp_path):
    """A repository that has measured nothing yet is no failure."""
    assert history(clone("one"), "restore", tmp_path / "all").returncode == 0
    assert runs_of(tmp_path / "all") == []
