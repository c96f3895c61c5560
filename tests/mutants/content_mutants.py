"""The mechanisms behind content, large results and models, each broken once; see ``mutants.py`` for the form."""

from mutants import mutant

SESSIONS = "tests/face/test_content_in_sessions.py"
RESULTS = "tests/engine/test_large_results.py"
READERS = "tests/toolkits/test_session_tools.py"
FETCH = "tests/content/test_fetch.py"
RESPONSES = "tests/llms/openai_responses/test_responses_requests.py"

CONTENT = (
    mutant(
        "bytes of a refused commit are lost", "P1", "engine/journal.py",
        "        self._blobs |= append.blobs  # as are those that refer to these: what is refused refers to none\n", "",
        f"{SESSIONS}::test_a_refused_commit_is_written_again_with_its_bytes",
    ),
    mutant(
        "bytes of a cancelled commit are lost", "P1", "engine/journal.py",
        "                self._blobs |= append.blobs\n", "",
        f"{SESSIONS}::test_a_commit_that_a_cancellation_stopped_is_written_again_with_its_bytes",
    ),
    mutant(
        "the model gets no bytes", "P5", "engine/call_model.py", "        blobs=services.store.read_blob,\n", "",
        f"{SESSIONS}::test_the_model_gets_a_reader_of_the_bytes",
    ),
    mutant(
        "a large result is not in its commit", "P1", "engine/results.py", "{**blobs, whole.blob: data}", "blobs",
        f"{RESULTS}::test_it_is_in_the_commit_that_records_the_result",
    ),
    mutant(
        "an erased result leaves its whole", "P12", "facts/erasure.py",
        "content=_gone(fact.content), whole=None)", "content=_gone(fact.content))",
        f"{RESULTS}::test_an_erased_result_is_gone_with_its_whole",
    ),
    mutant(
        "a tool reads bytes of other sessions", "P16", "engine/reader.py",
        "if address not in await self._store.list_blobs(self._session_id):", "if False:",
        f"{SESSIONS}::test_a_tool_gets_no_bytes_of_another_session",
    ),
    mutant(
        "a search finds itself", "P17", "engine/reader.py",
        "_OWN = frozenset({READ_RESULT, SEARCH_HISTORY})", "_OWN: frozenset[str] = frozenset()",
        f"{READERS}::test_a_search_does_not_find_itself",
    ),
    mutant(
        "a model without eyes is sent images", "P5", "llms/remote.py", "if taken is not request.messages:", "if False:",
        "tests/llms/test_words_for_media.py::test_a_model_without_eyes_is_told_of_an_image_in_words",
    ),
    mutant(
        "signature dropped", "P5", "llms/anthropic_blocks.py", "if block.signature is not None:", "if False:",
        "tests/llms/anthropic_wire/test_anthropic_requests.py::test_a_reply_goes_back_in_its_own_order_with_its_own_thoughts",
        "tests/llms/test_provider_switch.py",
    ),
    mutant(
        "reasoning is sent to whoever comes next", "P5", "llms/origins.py",
        'return origin == wire and where in {"", place}', "return origin == wire",
        "tests/llms/test_provider_switch.py",
    ),
    mutant(
        "cache markers too far apart", "P20", "llms/anthropic_markers.py", "MAX_GAP: Final = 15", "MAX_GAP: Final = 25",
        "tests/llms/test_prefix.py",
    ),
    mutant(
        "tools taken away at the round limit", "P20", "engine/call_model.py",
        "tools=definition.tools,", "tools=() if step.wrap_up else definition.tools,",
        "tests/llms/test_prefix.py",
    ),
    mutant(
        "connections without TLS are shared", "P3", "llms/clients.py",
        'headers["Connection"] = "close"', 'headers["X-Connection"] = "close"',
        "tests/llms/test_connections.py",
    ),
    mutant(
        "a URL may lead home", "P17", "content/fetch.py",
        "if not target.trusted and not all(map(is_public, addresses)):", "if False:",
        f"{FETCH}::test_a_name_that_leads_home_is_refused_unless_its_origin_is_named",
    ),
)  # fmt: skip
