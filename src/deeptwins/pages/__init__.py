"""Pages: how they are written, and one folder for what each kind shows."""
