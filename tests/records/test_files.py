"""The files of a run."""

from pathlib import Path

from deeptwins.records import RunFiles


def test_a_run_s_files_lie_side_by_side_and_are_named_by_its_id():
    """All files of a run lie in its study's folder; the lock is the study's, and the run's byte in it is its hash."""
    files = RunFiles(Path("results"), "tiny", "cifar-8-seed0-0000000a")

    assert [files.records, files.checkpoint, files.corrupt, files.log] == [
        Path(f"results/tiny/cifar-8-seed0-0000000a.{suffix}") for suffix in ("jsonl", "checkpoint", "corrupt", "log")
    ]
    assert [part.suffixes for part in files.parts] == [[".jsonl", ".part"], [".checkpoint", ".part"]]
    assert (files.lock, files.lock_byte) == (Path("results/tiny/.lock"), 10)
