"""Where the time of a training step goes: plans, measurement, ops, the roofline, clocks."""
