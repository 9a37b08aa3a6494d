"""Sweeps of multi-task loss strategies on CIFAR-100: which way of combining the fine and the coarse loss is best?"""
