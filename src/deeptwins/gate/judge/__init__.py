"""From counts and times to a verdict: statistics, history, and how good the gate is."""
