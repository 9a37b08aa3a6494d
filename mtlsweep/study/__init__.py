"""A study as a whole: what has become of its cells, their logs, how to end or remove what is not wanted. Loads neither torch nor pandas."""
