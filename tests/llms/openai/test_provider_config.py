"""Settings, the environment, and one string: each reaches the model's requests, or says what is wrong."""

import subprocess
import sys

import pytest

from power_loop.facts.errors import ConfigError
from power_loop.facts.messages import to_message
from power_loop.llms.local import LocalLLM
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.llms.provider import (
    LLMProviderConfig,
    create_llm_service_from_config,
    create_llm_service_from_env,
)
from power_loop.llms.resolve import FORMS, service_from_string
from power_loop.ports.llm import LLMRequest
from power_loop.testing.faulty_server import FaultyServer, text_reply

ASK = LLMRequest([to_message("hi")])
CANARY = "canary-7f3a9b-canary"


async def test_every_setting_has_its_effect():
    async with FaultyServer([text_reply("x")]) as server:
        config = LLMProviderConfig(
            model="m",
            base_url=server.base_url,
            api_key="key-123456",
            timeout_s=7.0,
            max_tokens=11,
            temperature=0.3,
            max_retries=5,
            extra={"seed": 4},
        )
        service = create_llm_service_from_config(config)
        assert isinstance(service, OpenAIChatLLM)
        await service.complete(ASK)
        received = server.requests[0]
    sent = {name: received.json[name] for name in ("model", "max_tokens", "temperature", "seed")}
    assert sent == {"model": "m", "max_tokens": 11, "temperature": 0.3, "seed": 4}
    assert received.headers["authorization"] == "Bearer key-123456"
    assert (service.idle_timeout, service.max_retries) == (7.0, 5)


async def test_a_request_wins_over_the_settings():
    async with FaultyServer([text_reply("x")]) as server:
        service = create_llm_service_from_config(LLMProviderConfig("m", server.base_url, extra={"seed": 4}))
        await service.complete(LLMRequest(ASK.messages, max_tokens=1, temperature=1.0, extra={"seed": 5}))
        body = server.requests[0].json
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (1, 1.0, 5)


async def test_an_endpoint_of_ones_own_never_gets_openais_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    async with FaultyServer([text_reply("x")]) as server:
        await create_llm_service_from_config(LLMProviderConfig("m", server.base_url)).complete(ASK)
        assert CANARY not in server.requests[0].headers["authorization"]


def test_the_key_does_not_show():
    config = LLMProviderConfig("m", f"http://user:{CANARY}@127.0.0.1/v1", CANARY, extra={"token": CANARY})
    assert CANARY not in repr(config)
    assert CANARY not in str(config)


def test_the_environment_is_read_with_its_fallback():
    env = {
        "POWER_LOOP_MODEL": "m",
        "POWER_LOOP_API_KEY": "",
        "OPENAI_COMPAT_MODEL": "not this",
        "OPENAI_COMPAT_API_KEY": "key-123456",
        "OPENAI_COMPAT_BASE_URL": "http://127.0.0.1:1/v1",
        "POWER_LOOP_PROVIDER": "openai-compat",
        "POWER_LOOP_TIMEOUT_S": "2.5",
        "POWER_LOOP_MAX_TOKENS": "none",
        "POWER_LOOP_TEMPERATURE": "0.7",
        "POWER_LOOP_MAX_RETRIES": "0",
    }
    expected = LLMProviderConfig("m", "http://127.0.0.1:1/v1", "key-123456", "openai-compat", 2.5, None, 0.7, 0)
    assert LLMProviderConfig.from_env(env=env) == expected


def test_prefixes_can_be_chosen():
    env = {"MINE_MODEL": "a", "YOURS_MODEL": "b", "YOURS_MAX_RETRIES": "1"}
    assert LLMProviderConfig.from_env(prefix="MINE", fallback_prefix="YOURS", env=env) == LLMProviderConfig(
        "a", max_retries=1
    )


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({}, "POWER_LOOP_MODEL"),
        ({"POWER_LOOP_MODEL": "m", "POWER_LOOP_TIMEOUT_S": "soon"}, "POWER_LOOP_TIMEOUT_S"),
        ({"POWER_LOOP_MODEL": "m", "POWER_LOOP_TIMEOUT_S": "nan"}, "POWER_LOOP_TIMEOUT_S"),
        ({"POWER_LOOP_MODEL": "m", "POWER_LOOP_TIMEOUT_S": "none"}, "POWER_LOOP_TIMEOUT_S"),
        ({"POWER_LOOP_MODEL": "m", "OPENAI_COMPAT_MAX_TOKENS": "0"}, "OPENAI_COMPAT_MAX_TOKENS"),
        ({"POWER_LOOP_MODEL": "m", "POWER_LOOP_MAX_RETRIES": "-1"}, "POWER_LOOP_MAX_RETRIES"),
        ({"POWER_LOOP_MODEL": "m", "POWER_LOOP_TEMPERATURE": "-1"}, "POWER_LOOP_TEMPERATURE"),
        ({"POWER_LOOP_MODEL": "m", "POWER_LOOP_BASE_URL": "host/v1"}, "POWER_LOOP_BASE_URL"),
        (
            {"POWER_LOOP_MODEL": "m", "POWER_LOOP_PROVIDER": "nobody"},
            "openai, openai-responses, openai-compat, anthropic, local",
        ),
        ({"POWER_LOOP_MODEL": "m", "POWER_LOOP_PROVIDER": "openai-compat"}, "POWER_LOOP_BASE_URL"),
    ],
)
def test_what_is_wrong_with_the_environment_is_named(env, named):
    with pytest.raises(ConfigError, match=named) as caught:
        LLMProviderConfig.from_env(env=env)
    assert isinstance(caught.value, ValueError)


def test_a_wrong_setting_is_named():
    with pytest.raises(ConfigError, match="max_tokens"):
        LLMProviderConfig("m", max_tokens=0)


async def test_a_service_is_made_from_the_environment(monkeypatch):
    async with FaultyServer([text_reply("from env")]) as server:
        monkeypatch.setenv("SOME_MODEL", "m")
        monkeypatch.setenv("OTHER_BASE_URL", server.base_url)
        service = create_llm_service_from_env(prefix="SOME", fallback_prefix="OTHER")
        assert (await service.complete(ASK)).text == "from env"


# -- strings


async def test_openai_takes_its_own_variables(monkeypatch):
    async with FaultyServer([text_reply("x")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "key-123456")
        await service_from_string("openai:ft:gpt-5-mini:me").complete(ASK)
        received = server.requests[0]
    assert received.json["model"] == "ft:gpt-5-mini:me"
    assert received.headers["authorization"] == "Bearer key-123456"
    assert {"max_tokens", "temperature"}.isdisjoint(received.json)


async def test_openai_compat_takes_ours(monkeypatch):
    async with FaultyServer([text_reply("x"), text_reply("y")]) as server:
        monkeypatch.setenv("OPENAI_COMPAT_BASE_URL", server.base_url)
        await service_from_string("openai-compat:m").complete(ASK)
        monkeypatch.setenv("POWER_LOOP_MODEL", "from-env")
        await service_from_string("openai-compat").complete(ASK)
        assert [request.json["model"] for request in server.requests] == ["m", "from-env"]


def test_local_names_the_small_model_or_a_file(tmp_path):
    file = tmp_path / "mine.gguf"
    file.touch()
    small, own = service_from_string("local"), service_from_string(f"local:{file}")
    assert isinstance(small, LocalLLM)
    assert isinstance(own, LocalLLM)
    assert own.model == "mine"
    with pytest.raises(ConfigError):
        service_from_string(f"local:{tmp_path / 'absent.gguf'}")


@pytest.mark.parametrize("text", ["", "gpt-5-mini", "nobody:model", "openai", "openai:", ":model"])
def test_an_unknown_string_lists_the_known_forms(text):
    with pytest.raises(
        ConfigError,
        match=FORMS,
    ):
        service_from_string(text)


def test_resolving_a_string_loads_no_sdk():
    program = (
        "import sys\n"
        "from power_loop.llms.resolve import service_from_string\n"
        "service_from_string('openai:gpt-5-mini'), service_from_string('local')\n"
        "print(sorted({'openai', 'httpx', 'httpx2', 'pydantic', 'xllamacpp'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
