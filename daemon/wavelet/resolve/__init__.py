"""The resolver: the only caller of pin and make. It joins equal work, remembers what came of it, and opens content."""
