"""Two commits set side by side: worktrees, processes, exact counts, times in pairs."""
