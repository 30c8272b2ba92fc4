"""What is measured: nox -s bench."""
