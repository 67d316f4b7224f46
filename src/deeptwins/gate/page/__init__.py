"""The page of the gate, and its summary."""
