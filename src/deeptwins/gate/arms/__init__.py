"""What makes and runs the two commits: their worktrees, what git does not hold, environments, processes and workers."""
