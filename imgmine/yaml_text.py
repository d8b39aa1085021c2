"""YAML that a person wrote: a key that is there twice is an error, where by YAML's own rule the last one counts."""

from typing import Any

import yaml


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key_node.value} is there twice", problem_mark=key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Return what a YAML text says. Raises `yaml.YAMLError`, also where a key is there twice."""
    return yaml.load(text, Loader=_UniqueKeys)
