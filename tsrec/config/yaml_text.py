"""YAML as people mean it: what is written stays as written. Knows nothing of sections or fields.

YAML 1.1 turns 010 into 8, 2024_01 into 202401, 12:30 into 750 and `no` into False before anybody can say that a text
was meant. Here every plain word stays its text; the field that it is for turns it into a number or a yes, and only
`null`, `~` and nothing at all mean none.
"""

from typing import Any

import yaml


class DuplicateKeyError(yaml.YAMLError):
    """A key stands twice in one mapping; a plain YAML reader would keep the last and drop the rest unsaid."""


class _Loader(yaml.SafeLoader):
    """Resolves nulls and merge keys, and nothing else."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (the base class declares it so)
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first_line: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in first_line:
                first = first_line[key.value]
                raise DuplicateKeyError(
                    f"line {line}: {key.value!r} stands there a second time, first in line {first}; make them one"
                )
            first_line[key.value] = line
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge as YAML does, then keep of each key what counts: else merges of merges grow without bound."""
        super().flatten_mapping(node)
        last = {
            (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key): (key, value)
            for key, value in node.value
        }
        node.value = list(last.values())


def parse_yaml(text: str) -> Any:
    """Mappings, lists, texts and None.

    Raises:
        yaml.YAMLError: it is not YAML, is nested without end, or a key stands twice in one mapping.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except RecursionError:
        raise yaml.YAMLError("nested too deep") from None
