"""Each example, run as a user runs it: in an empty folder, in a process of its own, with warnings as errors."""

import os
import re
import subprocess
import sys

import pytest
from pages import ROOT

EXAMPLES = ROOT / "examples"
FACTS = {
    "cancel.py": [
        r"by token: \[cancelled: the user closed the tab\]",
        r"by verb, accepted: True; \[cancelled: out of time\]",
        "by task: cancelled",
        "open calls: None",
        "and on: Here I am again",
    ],
    "budgets.py": [
        "budget_exceeded after 4 rounds, 0.020 USD",
        "the same budget: budget_exceeded, 0 calls",
        r"a higher budget: completed, Found it\.",
    ],
    "compaction.py": ["completed: The end", r"folded in round \d+: \d+ -> \d+ tokens", "in the journal all 30 pages"],
    "custom_model.py": [r"rac a ti saw  \(cost 0.004 USD\)", "error: llm_bad_request", "1 replies"],
    "fallback.py": [
        r"I am the second\.  \(completed, 1 round, 0\.002 USD\)",
        "a refusal stays one: error, llm_refused",
        r"I am the first\.",
        r"From the small one\.\nFrom the large one\.",
        r"ReplayingLLM: Ceviche\.",
    ],
    "first_session.py": [r"\(completed, 15 tokens\)", r"user +Hello, I am Ada\.", r"completed, 12 entries, .*channel"],
    "hooks_guardrail.py": [
        r"My card is \*{4}\.",
        "Refused: /etc/passwd",
        "deleted /tmp/old.txt",
        "I believe",
        "card number in the journal: False",
    ],
    "idempotent_payment.py": ["exit code -9", r"paid 40 \(as the bank confirms\)", "bookings at the bank: 1"],
    "images.py": [
        r"the model saw: text, image, document",
        r"then from the tool: text, image",
        "refused: content_not_allowed",
        "stored: 2 blobs",
    ],
    "large_results.py": [
        r"the model saw 500 of \d{5} characters",
        r"character \d+, line 777: .*boiler 3 FAILED",
        "resumed by a later process: boiler 3, at line 777",
        "entry 2, user, .* UTC: Which boiler failed",
    ],
    "kill_and_resume.py": [
        "worker ended with -9",
        "resumed here: completed",
        "model calls paid here: 1",
        r"step 1 ran 1 time",
        r"step 2 ran 2 time",
    ],
    "local_model.py": [r"height_of\(\w+\)", "completed after 2 rounds"],
    "memory.py": [
        "ada-2: You told me: ceviche",
        "bob-1: I do not know you yet",
        r"- Asked: My favourite dish is ceviche\.",
        "(?s)recall failed: OSError.*Still here.*remember failed: OSError",
    ],
    "mirror_messages.py": ["round 0: tool 'Friday 14:20'", "round 1 ended: 15 tokens", "the copy is equal: True"],
    "own_store_conformance.py": [r"\[100%\]"],
    "parallel_tools.py": ["a: 3 running at once", "all: 1 running at once", "page a', 'page b', 'page c', 'saved all"],
    "pending_tools.py": [
        "office: pending_tools, open: .'print_label'",
        "office: session_pending",
        "warehouse: completed, .* printed .'A-7'",
    ],
    "retention.py": [
        r"entry 2 found, erased: \[2\]",
        r"left of it: \['\[erased\]', 'Noted\.'\]",
        r"pruned \('spring',\): 8 entries, True",
        r"held now: spring-copy \(7 entries\), summer \(8 entries\)",
        "space given back: True",
    ],
    "retries.py": [
        "attempt 1 failed: LLMRateLimited",
        "attempt 2 failed: LLMTruncated",
        "completed: Here I am",
        "degraded: llm_retry_exhausted",
        r"completed: Back again\.  \(7 requests",
    ],
    "sql_views.py": [r"1 \| 0 \| session_opened", r"ghost.* \| failed", r"scripted \| 30 \| 0.0004", "completed"],
    "stream_events.py": [r"\[entry 7\] search", r"\[progress\] shelf B", r"\[delta\] 'There ar'", "completed: There"],
    "structured_output.py": [
        "worker ended with -9",
        r"completed: Ticket\(product='toaster', urgency='high'\)",
        "told what was wrong: - urgency: missing, but required",
        r"from text: Ticket\(product='fridge', urgency='low'\)",
    ],
    "sync_script.py": [r"2 \+ 3 is 5", "status completed, 2 rounds", "tokens: 30", "deleted: 1"],
    "todo.py": [
        r"told:\n\[>\] read the book",
        "the prompt has 6 lines\nfirst: It is the year",
        "last: <reminder>",
        r"kept: .*in_progress.*\nthen: .*read the book: completed",
    ],
    "tools_and_effects.py": [
        "exit code -9",
        "420, told by attempt 2",
        "reserved by attempt 2",
        "died while buy was running",
    ],
    "watch_from_another_process.py": [
        r"(?s)  1 session_opened\n.*  9 tool_call_completed\nleft at entry 9.*\n 10 tool_call_completed",
        " 13 session_ended",
    ],
}


def test_every_example_has_its_facts_and_its_line_in_the_list():
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == set(FACTS)
    assert names == set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text()))


@pytest.mark.parametrize("name", sorted(FACTS))
def test_an_example(name, tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "POWER_LOOP_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for fact in FACTS[name]:
        assert re.search(fact, done.stdout), f"{fact!r} is not in\n{done.stdout}"


@pytest.mark.parametrize("name", sorted(FACTS))
def test_an_example_is_short_and_says_what_it_needs(name):
    text = (EXAMPLES / name).read_text()
    assert len(text.splitlines()) < 60
    assert "key" in text.split('"""')[1]
