"""The backbone stage: the first layers of a pretrained causal LM, as a plain Hugging Face model folder."""

from collections.abc import Mapping
from pathlib import Path

from tsrec.backbone import wheel
from tsrec.config import BackboneConfig, Config
from tsrec.llm.pretrained import commit_of, files_of, local_folder
from tsrec.stage import Stage, on_call

_MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.py")


def _raw_inputs(config: BackboneConfig) -> Mapping[str, Path | str]:
    """The files that the model is read from, or the commit of a model of the hub."""
    if config.model == wheel.NAME:
        file = wheel.gguf_file()
        return {file.name: file}
    if folder := local_folder(config.model):
        return {name: file for name, file in files_of(folder, _MODEL_FILES).items() if file.parent == folder}
    return commit_of("backbone.model", config.model)


def _section(config: Config) -> BackboneConfig:
    return config.backbone


STAGE = Stage(
    name="backbone",
    version=1,
    config=_section,
    parents=lambda _: (),
    run=on_call("tsrec.backbone.stage", "run"),
    raw_inputs=_raw_inputs,
)
