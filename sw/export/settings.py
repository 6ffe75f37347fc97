"""How a layer is quantized, as JSON."""

from collections.abc import Mapping
from typing import Any

from sw.export.formats import Json, format_from_json, format_to_json
from sw.ptq.config import ActivationConfig, Config, Granularity, ScaleRule, ScaleSearch, ScaleStatistic, WeightConfig


def config_to_json(config: Config) -> Json:
    """Return a configuration as JSON: ``weight`` and ``activation``, each None or an object of all its fields."""
    return {name: None if part is None else _part_to_json(part)
            for name, part in (("weight", config.weight), ("activation", config.activation))}


def _part_to_json(part: WeightConfig | ActivationConfig) -> Json:
    rule = part.scale
    found: Json = {"format": format_to_json(part.format), "granularity": part.granularity.value,
                   "group_size": part.group_size,
                   "scale_rule": {"statistic": rule.statistic.value, "percentile": rule.percentile,
                                  "power_of_two": rule.power_of_two, "search": rule.search.value}}
    if isinstance(part, ActivationConfig):
        found["dynamic"] = part.dynamic
    return found


def config_from_json(description: Mapping[str, Any]) -> Config:
    """Return the configuration that :func:`config_to_json` describes.

    Raises
    ------
    KeyError
        If a field is missing.
    TypeError, ValueError
        If a field is of the wrong type, or has a value that is not known here.
    """
    weight, activation = (description.get(name) for name in ("weight", "activation"))
    return Config(weight=None if weight is None else WeightConfig(**_fields(weight)),
                  activation=None if activation is None else ActivationConfig(**_fields(activation),
                                                                              dynamic=activation["dynamic"]))


def _fields(description: Mapping[str, Any]) -> dict[str, Any]:
    rule = description["scale_rule"]
    return {"format": format_from_json(description["format"]), "group_size": description["group_size"],
            "granularity": Granularity(description["granularity"]),
            "scale": ScaleRule(statistic=ScaleStatistic(rule["statistic"]), percentile=rule["percentile"],
                               power_of_two=rule["power_of_two"], search=ScaleSearch(rule["search"]))}
