"""The command line: one verb's arguments and wiring, no logic."""
