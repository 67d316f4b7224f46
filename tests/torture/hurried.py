"""`deeptwins` with checkpoints many times a second: its workers, too, import `hurry`."""

from deeptwins.system import signals

signals.handle(signals.leave)  # as `main` does first; what is imported here is PyTorch

import hurry  # noqa: E402, F401
from deeptwins.cli import main  # noqa: E402
from deeptwins.train.schedule import forking  # noqa: E402

forking.CONTEXT.set_forkserver_preload([*forking.PRELOADED, "hurry"])

if __name__ == "__main__":
    main()
