"""What differs between Linux and Windows: processes, paths, pipes, outputs, shared libraries."""
