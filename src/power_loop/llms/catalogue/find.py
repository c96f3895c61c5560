"""Looking a model up: the host's overrides, the environment, our own table, the listed figures, safe defaults."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from power_loop.facts.errors import ConfigError
from power_loop.llms.catalogue.capabilities import Wire, capability_overrides_from_env, with_capabilities
from power_loop.llms.catalogue.families import Family, family_of
from power_loop.llms.catalogue.figures import Figures, figures_of
from power_loop.llms.catalogue.names import LOCAL, ModelName, parse_name
from power_loop.ports.models import DEFAULT_CONTEXT_WINDOW, ModelInfo, Prices

Overrides: TypeAlias = Mapping[str, ModelInfo | Mapping[str, Any]]
"""By model name: a whole ModelInfo, or some of its fields."""

LOCAL_WINDOW: Final = 4096
"""Tokens of the context that LocalLLM makes unless told otherwise, whatever the model could."""
_FREE: Final = Prices(Decimal(0), Decimal(0))
_LOCAL_PREFIX: Final = "smollm2"
_OWN_ENDPOINTS_ONLY: Final = frozenset({"anthropic", "aws", LOCAL})


def lookup(
    model: str,
    provider: str | None = None,
    overrides: Overrides | None = None,
    *,
    wire: Wire = "chat",
    env: Mapping[str, str] | None = None,
) -> ModelInfo:
    """Return what is known of a model.

    Dated names, ``provider:`` and ``provider/`` in front, and the forms of Bedrock and Vertex AI lead to the model's
    family. A model that nobody knows gets safe defaults and ``known=False``. Prices are per provider: without one
    they are the maker's own; an ``openai-compat`` endpoint has none.

    Args:
        model: Its name, as the provider takes it.
        provider: A name as in ``provider:model``, or the URL of the endpoint, which is only compared with known ones.
        overrides: By model name, what counts instead. Fields that state a context window make the model known.
        wire: Which format carries the requests.
        env: Variables for :func:`capability_overrides_from_env`, which lose against ``overrides`` only; None is the
            process's own environment. ``OPENAI_COMPAT_*`` do not touch Anthropic, its format, Bedrock or the local
            model.

    Raises ConfigError for an override or a variable that cannot work.
    """
    name = parse_name(model, provider)
    override = _override_for(model, name, overrides or {})
    if isinstance(override, ModelInfo):
        return override
    compatible = wire != "messages" and name.provider not in _OWN_ENDPOINTS_ONLY
    fallback = "OPENAI_COMPAT" if compatible else None
    info = _local(model, name) or _listed(model, name)
    info = with_capabilities(info, capability_overrides_from_env(fallback_prefix=fallback, env=env), wire)
    return info if override is None else _replaced(info, override)


def _local(model: str, name: ModelName) -> ModelInfo | None:
    ours = name.provider is None and name.bare.startswith(_LOCAL_PREFIX)
    if not ours and name.provider != LOCAL:
        return None
    return ModelInfo(model, LOCAL_WINDOW, native_schema=True, prices=_FREE, known=True, inputs_known=True)


def _listed(model: str, name: ModelName) -> ModelInfo:
    family, figures = family_of(name.bare), figures_of(name)
    if family is None and figures is None:
        return ModelInfo(model)
    info = ModelInfo(
        model,
        _window(family, figures),
        prices=None if figures is None else figures.prices,
        known=family is not None or (figures is not None and figures.context_window is not None),
    )
    if family is None:
        return info
    return msgspec.structs.replace(
        info,
        max_output=family.max_output,
        inputs=family.inputs,
        inputs_known=True,
        tools=family.tools,
        native_schema=family.native_schema,
    )


def _window(family: Family | None, figures: Figures | None) -> int:
    """A figure of our own for just this family first, then the listed one, then the least of its make."""
    listed = None if figures is None else figures.context_window
    if family is not None and not (family.generic and listed):
        return family.context_window
    return listed or DEFAULT_CONTEXT_WINDOW


def _override_for(model: str, name: ModelName, overrides: Overrides) -> ModelInfo | Mapping[str, Any] | None:
    by_name = {key.strip().lower(): value for key, value in overrides.items()}
    for key in (model.strip().lower(), name.full, name.bare):
        if key in by_name:
            return by_name[key]
    return None


def _replaced(info: ModelInfo, fields: Mapping[str, Any]) -> ModelInfo:
    unknown = sorted(set(fields) - set(ModelInfo.__struct_fields__))
    if unknown:
        allowed = ", ".join(ModelInfo.__struct_fields__)
        raise ConfigError(f"ModelInfo has no field {unknown[0]!r}; it has {allowed}.", field=unknown[0])
    kept = {name: value for name, value in fields.items() if isinstance(value, Prices)}
    try:
        checked = msgspec.convert({name: value for name, value in fields.items() if name not in kept}, ModelInfo)
    except msgspec.ValidationError as error:
        raise ConfigError(f"An override of model {info.name!r} cannot work: {error}.", field="overrides") from error
    if checked.context_window < 1 or (checked.max_output is not None and checked.max_output < 1):
        raise ConfigError(f"An override of model {info.name!r} leaves it no tokens.", field="overrides")
    values = {name: getattr(checked, name) for name in fields} | kept
    stated = {
        "known": info.known or "context_window" in fields,
        "inputs_known": info.inputs_known or "inputs" in fields,
    }
    return msgspec.structs.replace(info, **{**stated, **values})
