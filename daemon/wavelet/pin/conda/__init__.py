"""From conda specs and requirements to a lock: what the channels and indexes have now becomes fixed files."""
