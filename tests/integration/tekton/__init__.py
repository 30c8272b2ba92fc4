"""Tests that ask Tekton's own webhook and controller, built from their sources."""
