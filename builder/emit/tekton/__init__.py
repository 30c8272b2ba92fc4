"""Pipelines of Tekton that carry out the same plan on a cluster: settings of versions.yaml become files."""
