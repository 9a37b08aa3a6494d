"""What the runs say: collects a study's directories into one tidy frame, and prints tables of it. Reads files only, never torch."""
