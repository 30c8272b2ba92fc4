"""The Debian archive as a kernel source: kernels, headers, toolkits made of packages."""
