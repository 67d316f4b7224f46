"""The page of the trainer's choices, measured."""
