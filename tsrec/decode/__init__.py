"""Constrained decoding: the trie of existing SIDs, a beam search that writes nothing else, and scores of given SIDs."""

from tsrec.decode.beam import Beams, BeamSearch
from tsrec.decode.scoring import score_sids
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel, SidWriter

__all__ = ["BeamSearch", "Beams", "ExportedModel", "SidWriter", "Trie", "score_sids"]
