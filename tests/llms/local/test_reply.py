import pytest

from power_loop.facts.errors import LLMBadRequest, LLMContextTooLong, LLMTruncated, LLMUnavailable
from power_loop.llms.local.client import _Reply
from power_loop.llms.local.plan import Prompt
from power_loop.ports.llm import ignore_delta

PIECE = {"choices": [{"delta": {"content": "Hel"}, "finish_reason": None}]}
END = {"choices": [{"delta": {}, "finish_reason": "stop"}]}


def replied(*chunks):
    reply = _Reply(Prompt([]), ignore_delta)
    for chunk in chunks:
        reply.add(chunk)
    return reply.finish("m")


def test_a_reply_counts_only_with_its_end_marker():
    assert replied(PIECE, END).text == "Hel"
    with pytest.raises(LLMTruncated):
        replied(PIECE)
    with pytest.raises(LLMTruncated):
        replied()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 400, "message": "too long", "type": "exceed_context_size_error"}, LLMContextTooLong),
        ({"code": 400, "message": "what?", "type": "invalid_request_error"}, LLMBadRequest),
        ({"code": 500, "message": "oops", "type": "server_error"}, LLMUnavailable),
        ({}, LLMUnavailable),
    ],
)
def test_an_error_inside_the_stream_is_typed(error, kind):
    with pytest.raises(kind):
        replied(PIECE, {"error": error})
