"""The kinds of plan: what each is, how it is pinned and made. They know registries and the store, not who asks."""
