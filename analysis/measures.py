"""The accuracies that a table may compare. Loads nothing, so that the command line knows them at once."""

# The frame's column by the name it has in tables.
MEASURES = {"best": "best_fine_acc", "last": "last_fine_acc", "selected": "selected_fine_acc"}

# What it is.
MEANINGS = {
    "best": "best fine test accuracy",
    "last": "fine test accuracy after the last epoch",
    "selected": "fine test accuracy at the epoch of highest validation accuracy",
}
