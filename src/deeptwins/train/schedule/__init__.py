"""Many runs on one machine: workers, the runs in their hands, and what the user sees of it."""
