"""A survey of other people's drivers: every dkms package of the Debian archive, judged by kmodsmith and by dkms."""
