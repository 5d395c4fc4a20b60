"""The Wave door: Wave's HTTP API, as nf-wave and wave-cli speak it. It translates and does nothing else.

A request's way through the room: `routes` reads it, `models` gives its members types, `translate` (with `layers`) makes
a plan of it, the resolver takes it from there, and `names` and `answers` (or `inspect`) make the wire's values of what
comes back. All but `routes` and `errors` are pure.
"""
