"""The processes of the two commits: what runs in them, and how they are asked."""
