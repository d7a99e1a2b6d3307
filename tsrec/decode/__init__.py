"""Constrained decoding: the trie of existing SIDs, and a beam search that can write nothing else."""

from tsrec.decode.beam import Beams, BeamSearch
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel, SidWriter

__all__ = ["BeamSearch", "Beams", "ExportedModel", "SidWriter", "Trie"]
