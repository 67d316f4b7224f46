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


def scripts(name):
    """What its steps run in a shell or in JavaScript."""
    for step in steps(name):
        yield from filter(None, (step.get("run"), step.get("with", {}).get("script")))


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned(name):
    """Each action is named by a commit, with the version that it is of beside it: a tag may be moved."""
    lines = [line for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if "uses:" in line]

    assert lines
    for line in lines:
        assert re.search(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_an_action_has_one_version():
    """No two workflows use an action at different commits."""
    used = {step["uses"] for name in NAMES for step in steps(name) if "uses" in step}

    assert len(used) == len({each.partition("@")[0] for each in used})


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_pasted_into_a_script(name):
    """What anybody may write, such as the name of a branch, reaches a script as a variable only."""
    for script in scripts(name):
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
    """It is started by the gate's end, checks nothing out, and runs no shell."""
    comment = loaded(COMMENT)
    used = {step["uses"].partition("@")[0] for step in steps(COMMENT)}

    assert comment["on"] == {"workflow_run": {"workflows": [loaded(GATE)["name"]], "types": ["completed"]}}
    assert used == {"actions/github-script", "actions/download-artifact"}
    assert [job["permissions"] for job in comment["jobs"].values()] == [{"actions": "read", "pull-requests": "write"}]


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


def pretend(folder, code, summary, file):
    """Put a tox first on the path that writes a summary, and its arguments into a file; returns the variables."""
    tox = folder / "bin" / "tox"
    tox.parent.mkdir()
    tox.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" > arguments\n[ -z "{summary}" ] || echo "{summary}" > {file}\nexit {code}\n'
    )
    tox.chmod(0o755)
    return {
        "PATH": f"{tox.parent}:{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(folder / "step.md"),
        "RUNNER_TEMP": str(folder),
    }


def ran(script, folder, variables):
    """Run a step as GitHub does; returns its exit code."""
    command = ["bash", "-e", "-c", script]
    return subprocess.run(command, cwd=folder, env=variables, check=False).returncode  # noqa: S603


@pytest.mark.parametrize(
    ("code", "summary", "exits", "says"),
    [
        (0, "Fine.", 0, "Fine."),
        (1, "Slower.", 1, "Slower."),
        (2, "Broken.", 2, "Broken."),
        (3, "Not known.", 0, "Inconclusive does not fail the build"),
        (4, "Renamed.", 4, "Renamed."),
        (1, "", 2, "did not finish (exit code 1)"),
        (0, "", 2, "did not finish (exit code 0)"),
    ],
)
def test_what_the_gate_says_decides_the_build(tmp_path, code, summary, exits, says):
    """Inconclusive is neutral and says so; without a summary it is a failure, whatever tox says."""
    (script,) = (step["run"] for step in steps(GATE) if "--summary" in step.get("run", ""))
    variables = {"BASE": "a b;$(c)", "NUMBER": "7"} | pretend(tmp_path, code, summary, "gate/summary.md")

    assert ran(script, tmp_path, variables) == exits
    assert says in (tmp_path / "step.md").read_text()
    assert says in (tmp_path / "gate" / "comment" / "summary.md").read_text()
    assert (tmp_path / "gate" / "comment" / "pull-request.txt").read_text() == "7\n"
    assert (tmp_path / "arguments").read_text().startswith("run -e gate -- --base origin/a b;$(c) --summary")


@pytest.mark.parametrize(("code", "summary", "exits"), [(0, "x", 0), (1, "x", 0), (3, "x", 0), (4, "x", 4), (1, "", 2)])
def test_history_is_measured_against_the_last_release_before(tmp_path, code, summary, exits):
    """A release is measured against the one before; slower than the anchor is history, and not a failure."""
    (script,) = (step["run"] for step in steps(HISTORY, "measure") if "--anchor" in step.get("run", ""))
    variables = pretend(tmp_path, code, summary, "anchor.md")
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
        (tmp_path / "anchor.md").unlink(missing_ok=True)
        assert ran(script, tmp_path, variables) == exits
        return re.search("--anchor ([^ ]+) ", (tmp_path / "arguments").read_text())[1]

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
    script = list(scripts(COMMENT))[-1]

    def ran(summary="All is well.\n", number="7\n", sha=COMMIT, comments=()):
        (tmp_path / "summary.md").write_text(summary, encoding="utf-8")
        (tmp_path / "pull-request.txt").write_text(number, encoding="utf-8")
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


def test_what_a_pull_request_wrote_names_nobody_and_is_no_html(comment):
    """Folds stay; other tags, pictures, hidden marks, mentions and references lose what they do."""
    wrote = (
        "<details><summary>S</summary>\n| a |\n</details> <img src=x> <!-- m --> ![p](u) @team #12 `${{ x }}` \x1b[0m\n"
    )
    (said,) = comment(wrote)
    text = said["body"].removeprefix(MARKER)

    assert "<details><summary>S</summary>\n| a |\n</details>" in text
    assert set(re.findall(r"<[^>]*>", text)) == {"<details>", "</details>", "<summary>", "</summary>"}
    for lost in ("![", "@team", "#12", "\x1b"):
        assert lost not in text
    assert "`${{ x }}`" in text


def test_a_long_summary_is_cut(comment):
    """GitHub takes 65,536 characters."""
    (said,) = comment("x" * 200_000)

    assert 60_000 < len(said["body"]) < 65_536
    assert "The rest is in the run's summary" in said["body"]
    assert "summary.md: not a file of at most" in comment("x" * 1_100_000)


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
