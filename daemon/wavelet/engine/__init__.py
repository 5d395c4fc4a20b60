"""Programs run in images on this node: by docker, podman, or namespaces that a user may make."""
