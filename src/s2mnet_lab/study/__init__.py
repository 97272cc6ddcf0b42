"""Studies of the method: what is varied, measured and written down."""
