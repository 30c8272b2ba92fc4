"""Policies for clusters that let only signed images run."""
