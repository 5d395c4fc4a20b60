"""The store of this node: verified content on disk, and the small facts about it in a database.

The room knows digests, sizes, and where bytes came from (an *origin*, an opaque name). It knows no plans and asks
no one.
"""
