"""No event loop of your own: every verb that touches the store has a twin that blocks.

The model is scripted, so that this runs without a key.
"""

from power_loop import StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply


@tool(effect="read")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("add", a=2, b=3)), "2 + 3 is 5."), tools=[add])
result = loop.send_sync("What is 2 + 3?")
print(result.final_text)
print(f"status {result.status}, {result.rounds} rounds, session {result.session_id}")
for message in loop.get_messages_sync(result.session_id):
    print(f"  {message['role']:9} {message['content']}")
print(f"tokens: {loop.get_usage_sync(result.session_id).total.total_tokens}")
print(f"deleted: {loop.close_session_sync(result.session_id)}")
loop.close_sync()
