"""What the runs say: one tidy frame of a study, and tables, tests, plots and a report of it. Reads files only, never torch."""
