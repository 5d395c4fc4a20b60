"""The reading of container requests: from values, by whichever door they came, to a plan. Pure.

Doors make `values` of what they get; `container` makes a plan of these, by way of `checks`, `layers`, `packages` and
`container_file`, so that all doors refuse the same with the same sentences.
"""
