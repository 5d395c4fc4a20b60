"""Channels: their names, logins and files, and the indexes that the solver reads of them."""
