"""`export` and `deeptwins.load`: numbers that leave, as tables, as files, or as runs of a tracker."""
