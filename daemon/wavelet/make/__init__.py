"""Making: from a pinned plan to its image. Pure where it counts: no identity, no clock, the same image for ever.

One maker a kind of plan, one module each. What a maker needs of the world it gets from its `Work`.
"""
