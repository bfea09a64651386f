"""The gateway's policies, one file each. A new file here is a new policy."""
