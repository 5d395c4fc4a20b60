"""Pinning: every moving part of a plan becomes fixed. Only this room knows freshness, and who may know what."""
