"""The common goods of a cluster's nodes: container requests, claims, secrets, and the key that seals them.

Every node computes the same token for the same request; with a common place for the records any node can answer for
a name that another has given. `backend` chooses the place. The room knows plans as values; it pins and makes nothing.
"""
