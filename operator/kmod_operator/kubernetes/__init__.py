"""What everybody who asks an API server of Kubernetes shares: how it is found, and what becomes of what it refuses."""
