"""The cluster backend of nodes that share a directory, on NFS, Lustre or any file system with atomic rename."""
