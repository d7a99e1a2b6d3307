"""The embed stage: item texts to vectors, by a frozen sentence encoder."""

from tsrec.embed.stage import STAGE

__all__ = ["STAGE"]
