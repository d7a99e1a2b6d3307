"""The sa_init stage: what each SID token means in words, and where its embedding starts (TS-Rec's SA-Init)."""

from tsrec.sa_init.stage import STAGE

__all__ = ["STAGE"]
