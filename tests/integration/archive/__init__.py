"""What the Debian archive has, judged: kernels beside modprobe, drivers of others beside dkms."""
