"""kmodsmith: driver containers for every kernel that a vendor's OpenShift customers run."""

__version__ = "0.1.0"
