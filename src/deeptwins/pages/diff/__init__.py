"""Two sources of results side by side."""
