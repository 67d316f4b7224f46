"""Have checkpoints come many times a second, as a kill loses nothing that is not tried."""

from deeptwins.train import completion

completion.CHECKPOINT_SECONDS, completion.CHECKPOINT_SHARE = 0.2, 1.0
