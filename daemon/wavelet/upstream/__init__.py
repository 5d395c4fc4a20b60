"""The client side of registries and URLs: who is asked, with which login, at which addresses, how often again.

It returns bytes and descriptors and says to whom they were granted. It keeps nothing, and knows no plan and no store.
"""
