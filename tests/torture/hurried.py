"""`deeptwins` with checkpoints many times a second: its workers, too, import `hurry`."""

import hurry  # noqa: F401
from deeptwins.cli import main
from deeptwins.train.schedule import forking

forking.CONTEXT.set_forkserver_preload([*forking.PRELOADED, "hurry"])

if __name__ == "__main__":
    main()
