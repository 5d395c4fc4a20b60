"""The keys under which requests carry who asks."""

CALLER = "caller"
"""The request's `wavelet.resolve.access.Caller`, for the registry door."""

IDENTITY = "identity"
"""The `wavelet.plan.identity.Identity` that asks, for the Wave door."""
