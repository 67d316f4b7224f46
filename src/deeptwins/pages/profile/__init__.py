"""The page of where a step's time goes."""
