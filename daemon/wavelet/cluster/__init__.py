"""What the nodes of a cluster share: container requests, each under the token that is its name.

Every node computes the same token for the same request; with a common place for the records any node can answer for
a name that another has given. The room knows plans as values; it pins and makes nothing.
"""
