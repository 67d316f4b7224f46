"""What records show: tidy tables, statistics, comparisons, verdicts on claims."""
