"""The composition of a SIF: segments merged as overlay does it, and the tables and headers around them."""
