"""Settings of the embed stage."""

from typing import Annotated, Literal

from tsrec.config import EmbedConfig
from tsrec.config.base import AddedLater, Device


class EmbedSettings(EmbedConfig):
    """Its own section, and the run's device and precision.

    `auto` is float32 in small catalogues, as it always was; in large ones the processor decides (`resolve_precision`),
    and no fingerprint covers it: the vectors are nearly the same.
    """

    device: Device
    precision: Annotated[Literal["auto", "float32", "bfloat16"], AddedLater("auto")] = "auto"
