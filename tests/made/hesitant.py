"""A worker that hesitates, so that its session speaks while there is still something to do."""

import os
import time

from deeptwins.train.schedule import workers


def evaluated(results):
    """Whether both twins of a run have been evaluated for the first time, long before its end."""
    return any(path.read_text().count('"epoch"') >= 2 for path in results.rglob("*.jsonl"))


def serve(pipe, equipment):
    """Be a worker: once a run is evaluated, wait for the file `go`; then writes take longer than it does not listen."""
    sync = os.fsync

    def fsync(file):
        if evaluated(equipment.results):
            while not (equipment.results / "go").exists():
                time.sleep(0.02)
            time.sleep(2 * workers.REPORT_S)
        sync(file)

    os.fsync = fsync
    workers.serve(pipe, equipment)
