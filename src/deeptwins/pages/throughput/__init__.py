"""The page of how fast many nets train."""
