"""For people and programs: tables, JSON, JUnit. Pure."""
