"""Causal LMs, whatever their family: loading them, asking them, and which artifact holds the trained one."""
