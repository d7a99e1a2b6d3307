"""Constrained decoding: the trie of existing SIDs, and a beam search that can write nothing else."""
