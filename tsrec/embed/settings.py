"""Settings of the embed stage."""

from tsrec.config import EmbedConfig
from tsrec.config.base import Device


class EmbedSettings(EmbedConfig):
    """Its own section, and the run's device."""

    device: Device
