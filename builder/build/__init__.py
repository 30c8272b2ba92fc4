"""Carries out a plan for cells: compile, prove, sign, assemble, prove, boot, name."""
