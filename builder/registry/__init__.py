"""The OCI distribution protocol: read, write, credentials, and pulling into the store."""
