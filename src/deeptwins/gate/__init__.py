"""The performance gate: is this commit slower? What it measures runs in processes of its own, from worktrees."""
