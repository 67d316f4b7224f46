"""Training: the steps of a run's twins, what is measured of them, and a run to its end; in `schedule/`, many runs."""
