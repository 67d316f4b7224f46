"""What a commit needs around its files to be measured: what git does not hold, and an environment of its own."""
