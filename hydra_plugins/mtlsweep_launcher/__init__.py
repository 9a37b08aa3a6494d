"""Hydra's side of a sweep: a launcher and a sweeper. (Hydra looks for plugins in this namespace only.)"""
