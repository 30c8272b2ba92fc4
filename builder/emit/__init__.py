"""Pure functions that turn values into text for people and other programs."""
