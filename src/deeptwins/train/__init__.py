"""Training: many runs by workers, a run to its end, a step of its twins."""
