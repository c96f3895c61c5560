"""The local model as an LLMService: plans a prompt, runs it on the engine's thread, makes the reply.

Knows nothing of xllamacpp and nothing of how a prompt is planned.
"""

import asyncio
import importlib.util
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from power_loop.facts.errors import (
    ConfigError,
    LLMBadRequest,
    LLMContextTooLong,
    LLMError,
    LLMTruncated,
    LLMUnavailable,
    MissingExtraError,
)
from power_loop.facts.usage import LLMTokenUsage
from power_loop.llms.catalogue import lookup
from power_loop.llms.local.engine import Chunk, Engine, Job, Settings, Stopped, acquire, alive, release
from power_loop.llms.local.fetch import Progress
from power_loop.llms.local.plan import Prompt, plan
from power_loop.llms.local.weights import MODEL_NAME, ProgressBar, ensure_weights
from power_loop.llms.provider import DEFAULT_MODEL, LLMProviderConfig
from power_loop.llms.words_for_media import in_words
from power_loop.ports.llm import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    OnDelta,
    ReplyCall,
    TextDelta,
    ToolCallDelta,
    ignore_delta,
    validate_request,
)
from power_loop.ports.models import ModelInfo

DEFAULT_CONTEXT_WINDOW: Final = 4096
_ANSWER_TOKENS: Final = 200
_CALL_TOKENS: Final = 600
_FREE: Final = "0"


class LocalLLM:
    """A small model in this process.

    It calls each offered tool once since the last input, in the order offered, and then answers; the arguments are
    made by the model, constrained by the tool's schema. Deterministic at temperature 0, the default.

    Args:
        model_path: A GGUF file; None means SmolLM2-135M-Instruct, fetched (93 MB) on first use.
        context_window: Tokens that prompt and reply may have together.
        threads: Threads that compute; None picks what suits the model and the machine.
        max_tokens: Cap of a reply in tokens where a request sets none; None means 200 for an answer and 600 for a
            call.
        temperature: Used where a request sets none; 0 always picks the likeliest token.
        seed: Of the sampling, where the temperature is above 0.
        cache_dir: Where fetched weights are kept; see :func:`ensure_weights`.
        progress: Told of the download; see :func:`ensure_weights`.

    Raises ConfigError where there is no such file, MissingExtraError without xllamacpp.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        *,
        context_window: int = DEFAULT_CONTEXT_WINDOW,
        threads: int | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        cache_dir: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        if context_window < 1 or (threads is not None and threads < 1):
            raise ConfigError("context_window and threads must be at least 1.")
        self._path = None if model_path is None else Path(model_path).expanduser().absolute()
        if self._path is not None and not self._path.is_file():
            raise ConfigError(f"No model at {self._path}. Give the path of a GGUF file, or none for {MODEL_NAME}.")
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtraError("The local model needs xllamacpp. Run: pip install 'power-loop[local]'")
        self.model = MODEL_NAME if self._path is None else self._path.stem
        self.context_window = context_window
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._seed = seed
        self._cache_dir = cache_dir
        self._progress = progress
        source = f"{MODEL_NAME} in {cache_dir}" if self._path is None else str(self._path)
        self._settings = Settings(source, context_window, threads)
        self._engine: Engine | None = None

    def __repr__(self) -> str:
        return f"LocalLLM(model={self.model!r})"

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Return the complete reply; ``on_delta`` hears its pieces as they are made, on the caller's loop.

        Calls of one process take turns. Cancelling the task ends the generation. Raises an LLMError, and on first
        use what :func:`ensure_weights` raises, and ConfigError where the file is no model. Images and
        documents are put into words, for which ``request.blobs`` is asked.
        """
        validate_request(request)
        request = await in_words(request)
        prompt = plan(request)
        reply = _Reply(prompt, on_delta)
        await _Call(self._body(request, prompt), reply.add).run(self._acquired())
        return reply.finish(self.model)

    def describe(self, model: str | None = None) -> ModelInfo:
        """Return what this model takes: there is one, whatever name is asked for. It costs nothing."""
        info = lookup(model or self.model, "local")
        return msgspec.structs.replace(info, context_window=self.context_window)

    async def close(self) -> None:
        """Let go of the model, unless another LocalLLM of this process uses it. A later call loads it again."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.to_thread(release, engine)

    def _acquired(self) -> Engine:
        if self._engine is None or not alive(self._engine):
            self._engine = acquire(self._settings, self._locate)
        return self._engine

    def _locate(self, stopped: Stopped) -> Path:
        if self._path is not None:
            return self._path
        shown = self._progress or ProgressBar()

        def progress(done: int, total: int) -> None:
            if stopped():
                raise LLMUnavailable("The download of the local model was given up.")
            shown(done, total)

        return ensure_weights(cache_dir=self._cache_dir, progress=progress)

    def _body(self, request: LLMRequest, prompt: Prompt) -> dict[str, Any]:
        default = self._max_tokens or (_CALL_TOKENS if prompt.tool else _ANSWER_TOKENS)
        body: dict[str, Any] = {
            **request.extra,
            "messages": prompt.messages,
            "max_tokens": request.max_tokens or default,
            "temperature": self._temperature if request.temperature is None else request.temperature,
            "seed": self._seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,  # each piece of the prompt is a chance to see a cancel
            "cache_prompt": False,  # what was asked before must not change the rounding, nor so the reply
        }
        if prompt.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": prompt.schema},
            }
        return body


class _Call:
    """One job, seen from the loop of its caller: chunks and the end are handed over to it, in order."""

    def __init__(self, body: dict[str, Any], on_chunk: Callable[[Chunk], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._on_chunk = on_chunk
        self._error: BaseException | None = None
        self._job = Job(body, self._hand_chunk, self._hand_end)

    async def run(self, engine: Engine) -> None:
        """Return when the engine is done with the job, also where the job or its task is cancelled."""
        engine.submit(self._job)
        try:
            await asyncio.shield(self._done)
        except asyncio.CancelledError:
            self._job.cancelled.set()
            if self._job.started:
                await asyncio.wait({self._done})
            raise

    def _hand_chunk(self, chunk: Chunk) -> None:
        self._loop.call_soon_threadsafe(self._take, chunk)

    def _hand_end(self, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the caller's loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._end, error)

    def _take(self, chunk: Chunk) -> None:
        if self._job.cancelled.is_set():
            return
        try:
            self._on_chunk(chunk)
        except Exception as error:  # noqa: BLE001 -- of the model or of the listener: the call's, not the loop's
            self._error = error
            self._job.cancelled.set()

    def _end(self, error: BaseException | None) -> None:
        error = self._error or error
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)
            self._done.exception()  # a cancelled caller does not ask for it


class _Reply:
    """Collects chunks into a reply and tells the listener of them."""

    def __init__(self, prompt: Prompt, on_delta: OnDelta) -> None:
        self._prompt = prompt
        self._on_delta = on_delta
        self._pieces: list[str] = []
        self._reason: str | None = None
        self._usage = LLMTokenUsage()

    def add(self, chunk: Chunk) -> None:
        """Take one chunk. Raises an LLMError for an error inside the stream."""
        if "error" in chunk:
            raise _failure(chunk["error"])
        if chunk.get("usage"):
            self._usage = _usage(chunk["usage"])
        for choice in chunk.get("choices", ()):
            self._reason = choice.get("finish_reason") or self._reason
            piece = choice.get("delta", {}).get("content")
            if piece:
                self._tell(piece)

    def finish(self, model: str) -> LLMResponse:
        """Return the reply. Raises LLMTruncated where its end marker never came."""
        if self._reason not in {"stop", "length"}:
            raise LLMTruncated("The local model's reply ended without its end marker; try again.")
        text = "".join(self._pieces)
        cut = self._reason == "length"
        tool = self._prompt.tool
        if tool is None:
            reason: FinishReason = "length" if cut else "stop"
            return LLMResponse(text, finish_reason=reason, usage=self._usage, model=model, cost=_FREE)
        calls = (ReplyCall(self._prompt.call_id, tool.name, text),)
        reason = "length" if cut else "tool_calls"
        return LLMResponse("", calls, finish_reason=reason, usage=self._usage, model=model, cost=_FREE)

    def _tell(self, piece: str) -> None:
        tool = self._prompt.tool
        first = not self._pieces
        self._pieces.append(piece)
        if tool is None:
            self._on_delta(TextDelta(piece))
        elif first:
            self._on_delta(ToolCallDelta(0, self._prompt.call_id, tool.name, piece))
        else:
            self._on_delta(ToolCallDelta(0, arguments=piece))


def _usage(figures: Chunk) -> LLMTokenUsage:
    details = figures.get("prompt_tokens_details") or {}
    return LLMTokenUsage(
        figures.get("prompt_tokens", 0), figures.get("completion_tokens", 0), details.get("cached_tokens", 0)
    )


def _failure(error: Chunk) -> LLMError:
    status, said = error.get("code"), error.get("message", "no reason given")
    if error.get("type") == "exceed_context_size_error":
        advice = "Compact the session, or raise context_window."
        return LLMContextTooLong(f"The local model's context window is too small: {said}. {advice}", status=status)
    kind = LLMBadRequest if isinstance(status, int) and status < 500 else LLMUnavailable  # noqa: PLR2004
    return kind(f"The local model failed: {said}", status=status)


__all__ = ["DEFAULT_CONTEXT_WINDOW", "LocalLLM"]


def from_config(cfg: LLMProviderConfig) -> LocalLLM:
    """Make the service; the model ``default`` is the one that is fetched."""
    return LocalLLM(
        model_path=None if cfg.model == DEFAULT_MODEL else cfg.model,
        max_tokens=cfg.max_tokens,
        temperature=cfg.temperature or 0.0,
    )
