"""Files for clusters and for documents: facts are read, files are pure."""
