"""What the catalogue says of models, with and without the package that lists them."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot

from power_loop.facts.errors import ConfigError
from power_loop.facts.usage import LLMTokenUsage
from power_loop.llms.catalogue import capability_overrides_from_env, lookup
from power_loop.llms.catalogue.families import FAMILIES, family_of
from power_loop.llms.catalogue.figures import figures_of
from power_loop.llms.catalogue.names import parse_name
from power_loop.llms.local.client import DEFAULT_CONTEXT_WINDOW as LOCAL_CONTEXT_WINDOW
from power_loop.llms.local.weights import MODEL_NAME
from power_loop.ports.cost import SteppedPrices, cost_of
from power_loop.ports.models import DEFAULT_CONTEXT_WINDOW, ModelInfo, Prices

NAMES = [
    ("gpt-5-mini", None, 400_000, 128_000),
    ("openai:gpt-5-mini-2025-08-07", None, 400_000, 128_000),
    ("GPT-5-Mini", "openai", 400_000, 128_000),
    ("openai/gpt-5-mini", "openrouter", 400_000, 128_000),
    ("ft:gpt-4o-mini-2024-07-18:org::id", "openai", 128_000, 16_384),
    ("gpt-4o-2024-05-13", "openai", 128_000, 4_096),
    ("gpt-5.1-chat-latest", "openai", 128_000, 16_384),
    ("gpt-5.4-mini", "openai", 400_000, 128_000),
    ("gpt-5.4", "openai", 1_050_000, 128_000),
    ("o3-mini-2025-01-31", "openai", 200_000, 100_000),
    ("claude-sonnet-4-5-20250929", "anthropic", 200_000, 64_000),
    ("anthropic/claude-sonnet-4.5", None, 200_000, 64_000),
    ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", None, 200_000, 64_000),
    ("anthropic.claude-3-haiku-20240307-v1:0", "bedrock", 200_000, 4_096),
    ("arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-opus-4-1-v1:0", "bedrock", 200_000, 32_000),
    ("claude-opus-4-1@20250805", "vertex", 200_000, 32_000),
    ("claude-opus-4-20250514", "anthropic", 200_000, 32_000),
    ("claude-opus-4-6", "anthropic", 1_000_000, 128_000),
    ("claude-opus-5-5", "anthropic", 1_000_000, 128_000),
    ("models/gemini-2.5-pro", "google", 1_048_576, 65_536),
    ("meta-llama/Llama-3.3-70B-Instruct", "together", 128_000, 4_096),
    ("llama3.3:70b", "openai-compat", 128_000, 4_096),
    ("deepseek/deepseek-v4-pro", "openrouter", 1_000_000, 384_000),
]
CALLS = [
    ("gpt-5-mini", "openai"),
    ("claude-sonnet-4-5-20250929", "anthropic"),
    ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"),
    ("gemini-2.5-pro", "google"),
    ("gpt-5.4", "openai"),
    ("openai/gpt-5-mini", "openrouter"),
    ("deepseek-chat", "deepseek"),
    ("llama-3.3-70b-versatile", "groq"),
]
USAGES = [
    LLMTokenUsage(1000, 200),
    LLMTokenUsage(150_000, 4000, cache_read_tokens=100_000, cache_write_tokens=20_000),
    LLMTokenUsage(200_000, 10),
    LLMTokenUsage(200_001, 10),
    LLMTokenUsage(900_000, 4000, cache_read_tokens=800_000),
]
NOBODY = ModelInfo("nobody-1")


@pytest.mark.parametrize(("model", "provider", "window", "cap"), NAMES)
def test_names_lead_to_their_family(model, provider, window, cap):
    info = lookup(model, provider)
    assert (info.name, info.context_window, info.max_output, info.known) == (model, window, cap, True)


@pytest.mark.parametrize("model", ["nobody-1", "gpt-5000", "claudette", "", "my/own-model", "gpt-j", "o35"])
def test_an_unknown_model_gets_safe_defaults(model):
    assert lookup(model, "openai-compat") == ModelInfo(model)
    assert not lookup(model).known


def test_inputs_tools_and_schemas():
    assert lookup("claude-sonnet-4-5").inputs == {"text", "image", "pdf"}
    assert lookup("gemini-2.5-flash").inputs == {"text", "image"}
    assert lookup("gpt-oss-20b").inputs == {"text"}
    assert lookup("gpt-4.1").native_schema
    assert not lookup("gpt-4-turbo").native_schema
    assert not lookup("o1-mini").tools


def test_what_makes_no_text_has_no_family():
    assert [family_of(name) for name in ("text-embedding-3-small", "gpt-4o-transcribe", "gpt-image-1")] == [None] * 3


def test_the_table_is_sound():
    assert len({family.pattern for family in FAMILIES}) == len(FAMILIES)
    assert all(family.context_window >= (family.max_output or 0) for family in FAMILIES)
    assert all("text" in family.inputs for family in FAMILIES)


@pytest.mark.parametrize(("model", "provider"), CALLS)
def test_costs_are_those_of_the_source(model, provider):
    now = datetime.now(UTC)
    name = parse_name(model, provider)
    prices = figures_of(name, now).prices
    for usage in USAGES:
        theirs = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
            ),
            name.full,
            provider_id=name.provider,
            genai_request_timestamp=now,
        )
        assert cost_of(usage, prices) == theirs.total_price


def test_a_long_prompt_has_its_own_prices():
    assert isinstance(lookup("gemini-2.5-pro", "google").prices, SteppedPrices)


def test_a_bedrock_id_tells_its_provider():
    regional = lookup("us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    assert regional.prices == lookup(regional.name, "bedrock").prices
    assert regional.prices is not None


def test_an_endpoint_that_nobody_knows_has_no_prices():
    assert lookup("gpt-5-mini").prices == lookup("gpt-5-mini", "openai").prices != None  # noqa: E711 -- neither is
    assert lookup("gpt-5-mini", "https://api.openai.com/v1").prices == lookup("gpt-5-mini", "openai").prices
    for provider in ("openai-compat", "http://127.0.0.1:8080/v1", "some-gateway"):
        info = lookup("gpt-5-mini", provider)
        assert (info.prices, info.context_window, info.known) == (None, 400_000, True)


def test_a_newer_model_of_a_make_gets_its_listed_window():
    """The table's row for the make is only the least; what is listed of the very model is better."""
    mythos = lookup("claude-mythos-9", "anthropic")
    assert (mythos.context_window, mythos.known, mythos.prices) == (200_000, True, None)
    grok = lookup("grok-code-fast-1", "x-ai")
    assert (grok.context_window, grok.known) == (256_000, True)
    assert grok.prices is not None


def test_figures_that_a_host_updates_count():
    before = lookup("gpt-5-mini", "openai").prices
    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert lookup("gpt-5-mini", "openai").prices is None
    finally:
        set_custom_snapshot(None)
    assert lookup("gpt-5-mini", "openai").prices == before
    assert get_snapshot().providers


# -- the local model


@pytest.mark.parametrize(("model", "provider"), [(MODEL_NAME, None), ("default", "local"), ("local:/x/y.gguf", None)])
def test_the_local_model_is_known_and_free(model, provider):
    info = lookup(model, provider)
    assert (info.context_window, info.known, info.native_schema) == (LOCAL_CONTEXT_WINDOW, True, True)
    assert info.prices == Prices(Decimal(0), Decimal(0))


# -- overrides


def test_fields_are_overridden_one_by_one():
    fields = {"context_window": 64_000, "inputs": ["text", "image"], "prices": {"input": "0.1", "output": "0.2"}}
    info = lookup("nobody-1", "openai-compat", {"nobody-1": fields})
    assert info == ModelInfo(
        "nobody-1",
        64_000,
        inputs=frozenset({"text", "image"}),
        prices=Prices(Decimal("0.1"), Decimal("0.2")),
        known=True,
        inputs_known=True,
    )


def test_other_fields_stay():
    info = lookup("gpt-5-mini", "openai", {"GPT-5-mini": {"max_output": 1000, "prices": None}})
    assert (info.max_output, info.context_window, info.prices, info.known) == (1000, 400_000, None, True)


def test_a_whole_info_counts_as_it_is():
    whole = ModelInfo("mine", 1234)
    assert lookup("openai:gpt-5-mini-2025-08-07", None, {"gpt-5-mini-2025-08-07": whole}) is whole


def test_prices_may_be_given_as_they_are():
    prices = Prices(Decimal(1), Decimal(2))
    assert lookup("nobody-1", None, {"nobody-1": {"prices": prices}}).prices == prices
    assert lookup("nobody-1", None, {"nobody-1": {"prices": prices}}).known is False
    assert lookup("nobody-1", None, {"somebody-2": {"prices": prices}}) == NOBODY


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"window": 1}, "no field 'window'"),
        ({"context_window": "many"}, "context_window"),
        ({"context_window": 0}, "no tokens"),
        ({"max_output": -1}, "no tokens"),
        ({"inputs": ["smell"]}, "inputs"),
    ],
)
def test_an_override_that_cannot_work_is_refused(fields, said):
    with pytest.raises(ConfigError, match=said):
        lookup("gpt-5-mini", None, {"gpt-5-mini": fields})


# -- the environment


def test_the_environment_says_what_a_model_takes():
    env = {"POWER_LOOP_SUPPORTS_IMAGE_INPUT": "yes", "OPENAI_COMPAT_SUPPORTS_IMAGE_INPUT": "no"}
    env |= {"OPENAI_COMPAT_SUPPORTS_TOOLS": "0", "POWER_LOOP_SUPPORTS_TOOLS": " "}
    env |= {"POWER_LOOP_SUPPORTS_PDF_INPUT_RESPONSES": "TRUE", "POWER_LOOP_SUPPORTS_NATIVE_SCHEMA": "on"}
    info = lookup("nobody-1", "openai-compat", env=env)
    assert (info.inputs, info.tools, info.native_schema, info.known) == ({"text", "image"}, False, True, False)
    assert lookup("nobody-1", "openai", env=env, wire="responses").inputs == {"text", "image", "pdf"}


def test_the_environment_takes_away_and_overrides_win():
    env = {"POWER_LOOP_SUPPORTS_IMAGE_INPUT": "0", "POWER_LOOP_SUPPORTS_PDF_INPUT_CHAT": "0"}
    assert lookup("gpt-5-mini", "openai", env=env).inputs == {"text"}
    kept = {"gpt-5-mini": {"inputs": {"text", "image"}}}
    assert lookup("gpt-5-mini", "openai", kept, env=env).inputs == {"text", "image"}


def test_what_the_environment_grants_takes_nothing_away():
    granted = lookup("nobody-1", "openai-compat", env={"POWER_LOOP_SUPPORTS_IMAGE_INPUT": "1"})
    assert (granted.inputs, granted.inputs_known) == ({"text", "image"}, False)  # of files still nothing is known
    denied = lookup("nobody-1", "openai-compat", env={"POWER_LOOP_SUPPORTS_IMAGE_INPUT": "0"})
    assert (denied.inputs, denied.inputs_known) == ({"text"}, True)


def test_settings_of_openai_endpoints_leave_other_makers_alone():
    env = {"OPENAI_COMPAT_SUPPORTS_IMAGE_INPUT": "0"}
    assert "image" in lookup("claude-sonnet-4-5", "anthropic", env=env).inputs
    assert "image" not in lookup("claude-sonnet-4-5", "openrouter", env=env).inputs


def test_all_the_variables_are_read():
    names = ("IMAGE_INPUT", "PDF_INPUT_CHAT", "PDF_INPUT_RESPONSES", "DATA_URL", "TOOLS", "STREAM")
    env = {f"OPENAI_COMPAT_SUPPORTS_{name}": "1" for name in names}
    assert capability_overrides_from_env(env=env) == {f"supports_{name.lower()}": True for name in names}


def test_a_variable_that_says_neither_is_refused(monkeypatch):
    monkeypatch.setenv("POWER_LOOP_SUPPORTS_TOOLS", "perhaps")
    with pytest.raises(ConfigError, match="POWER_LOOP_SUPPORTS_TOOLS"):
        lookup("gpt-5-mini")


# -- what it loads


def run(code):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_nothing_is_loaded_before_it_is_asked():
    code = "import json, sys, power_loop.llms.catalogue; print(json.dumps(sorted(sys.modules)))"
    assert {"genai_prices", "pydantic", "openai", "anthropic"}.isdisjoint(run(code))


def test_without_the_package_prices_are_unknown_and_windows_stay():
    code = """
import json, sys
sys.modules["genai_prices"] = None
from power_loop.llms.catalogue import lookup
infos = lookup("gpt-5-mini", "openai"), lookup("nobody-1"), lookup("default", "local")
print(json.dumps([(i.context_window, i.max_output, i.known, i.prices is None) for i in infos]))
"""
    assert run(code) == [[400_000, 128_000, True, True], [DEFAULT_CONTEXT_WINDOW, None, False, True],
                         [LOCAL_CONTEXT_WINDOW, None, True, False]]  # fmt: skip


def test_nothing_is_fetched():
    code = """
import json, sys
asked = []
sys.addaudithook(lambda event, args: asked.append(event) if event.startswith("socket.") else None)
from power_loop.llms.catalogue import lookup
lookup("gpt-5-mini", "https://api.openai.com/v1"), lookup("nobody-1")
print(json.dumps(asked))
"""
    assert run(code) == []
