"""What the operating system gives, and refuses: regular files, disks that may lack something, signals."""
