"""Rules by which Node Feature Discovery labels the nodes that a driver is for."""
