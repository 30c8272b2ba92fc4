"""The Kernel Module Management operator: its fields, its admission rules, how it chooses an image. Pure."""
